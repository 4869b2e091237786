from __future__ import annotations

import numpy as np
import pytest
import torch

from hpnet.core.skeleton import COCO17, HAND21, RELEASED17, Skeleton, adjacency, from_tree, spatial_subsets
from hpnet.models import TOPOLOGY_NETWORKS
from hpnet.models.build import build
from hpnet.models.ctrgcn import CTRGCN, ChannelTopologyGraphConv, block_plan
from hpnet.models.gcn import GCN, GraphConv
from hpnet.models.persons import PersonNorm, mean_over_persons
from hpnet.weights.ctrgcn import convert_ctrgcn
from tests import golden


def small(name: str = "ctrgcn", skeleton: Skeleton = COCO17, **sizes: int) -> CTRGCN | GCN:
    torch.manual_seed(0)
    given = {"in_channels": 5, "num_classes": 4, "num_persons": 2, "base_channels": 8, "blocks": 3, **sizes}
    return build(name, num_joints=skeleton.num_joints, skeleton=skeleton, **given)


def test_released_graph() -> None:
    np.testing.assert_allclose(spatial_subsets(RELEASED17), golden.load("ctrgcn")["adjacency"], atol=1e-6)


def test_released_logits_in_train_mode() -> None:
    model = CTRGCN(in_channels=96, num_classes=60, num_persons=2, skeleton=RELEASED17)
    model.load_state_dict(convert_ctrgcn(golden.released_state("ctrgcn")))
    with torch.no_grad():
        logits = model.train()(golden.seeded_input(77, (2, 96, 64, 17, 2))).numpy()
    expected = golden.load("ctrgcn")["logits_train"]
    assert expected.std() > 1  # far above the tolerance
    np.testing.assert_allclose(logits, expected, rtol=0, atol=5e-3)


def test_conversion_refuses_missing_and_foreign_keys() -> None:
    state = golden.released_state("ctrgcn")
    with pytest.raises(ValueError, match=r"'l3\.tcn1\.branches\.1\.0\.bias' is missing"):
        convert_ctrgcn({k: v for k, v in state.items() if k != "l3.tcn1.branches.1.0.bias"})
    with pytest.raises(ValueError, match=r"1 keys are not of this network, first 'head\.weight'"):
        convert_ctrgcn({**state, "head.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="another network"):
        convert_ctrgcn({"conv.weight": torch.zeros(1)})


def test_size_of_the_released_network() -> None:
    model = CTRGCN(in_channels=96, num_classes=120, num_persons=2, skeleton=RELEASED17)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 1.49


def test_flops_of_the_released_network() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = CTRGCN(in_channels=96, num_classes=120, num_persons=2, skeleton=RELEASED17).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.randn(1, 96, 64, 17, 2))
    # The released network runs psi and phi on every frame and averages then; here they run on the average.
    lengths = [64] * 5 + [32] * 3 + [16] * 2
    saved = 0
    for block, frames in zip(model.blocks, lengths, strict=True):
        psi = block.spatial.graph.psi
        saved += 2 * 2 * psi.in_channels * psi.out_channels * 17 * 2 * (frames - 1)
    assert round((counter.get_total_flops() + saved) / 1e9, 2) == 2.65


def test_graph_conv_against_equation_10_by_loops() -> None:
    torch.manual_seed(3)
    conv = ChannelTopologyGraphConv(6, 4, torch.rand(3, 5, 5)).double()
    torch.nn.init.constant_(conv.alpha, 0.7)
    x = torch.randn(2, 6, 3, 5, dtype=torch.double)
    with torch.no_grad():
        got = conv(x.transpose(2, 3)).transpose(2, 3)  # frames last and back
        psi = conv.psi(x.mean(2)).view(2, 3, 8, 5)
        phi = conv.phi(x.mean(2)).view(2, 3, 8, 5)
        values = conv.transform(x).view(2, 3, 4, 3, 5)
        expected = torch.zeros(2, 4, 3, 5, dtype=torch.double)
        for s in range(3):
            for i in range(5):
                for j in range(5):
                    relation = torch.tanh(psi[:, s, :, i] - phi[:, s, :, j])  # (P, r)
                    q = relation @ conv.xi_weight[s].T + conv.xi_bias[s, :, 0]  # (P, C')
                    refined = conv.topology[s, i, j] + conv.alpha * q
                    expected[:, :, :, i] += refined[:, :, None] * values[:, s, :, :, j]
    torch.testing.assert_close(got, expected)


def test_equation_4_by_hand() -> None:
    layer = GraphConv(3, 3, torch.from_numpy(adjacency(COCO17))).eval()
    torch.nn.init.dirac_(layer.weight.weight)
    x = torch.rand(1, 3, 2, 17)
    matrix = np.eye(17)
    for child, parent in COCO17.edges:
        matrix[child, parent] = matrix[parent, child] = 1
    scale = np.diag(matrix.sum(1) ** -0.5)
    expected = np.einsum("uv,pctv->pctu", scale @ matrix @ scale, x.numpy()) / np.sqrt(1 + layer.norm.eps)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", list(TOPOLOGY_NETWORKS))
@pytest.mark.parametrize("skeleton", [COCO17, RELEASED17, HAND21], ids=lambda s: s.name)
@pytest.mark.parametrize("frames", [1, 7])
def test_any_skeleton_length_and_number_of_people(name: str, skeleton: Skeleton, frames: int) -> None:
    for persons in (1, 3):
        model = small(name, skeleton, num_persons=persons)
        x = torch.randn(4, 5, frames, skeleton.num_joints, persons)
        assert model(x).shape == (4, 4)
        assert model.forward_features(x).shape == (4, model.feature_dim)
        model.eval()
        torch.testing.assert_close(model(x), model.classifier(model.forward_features(x)))


@pytest.mark.parametrize("name", list(TOPOLOGY_NETWORKS))
def test_all_people_valid_is_the_same_as_no_mask(name: str) -> None:
    model = small(name).eval()
    x = torch.randn(3, 5, 6, 17, 2)
    torch.testing.assert_close(model(x), model(x, torch.ones(3, 2, dtype=torch.bool)))


@pytest.mark.parametrize("name", list(TOPOLOGY_NETWORKS))
@pytest.mark.parametrize("training", [False, True])
def test_absent_people_change_nothing(name: str, training: bool) -> None:
    x = torch.randn(4, 5, 6, 17, 2)
    valid = torch.tensor([[True, False], [True, True], [True, False], [True, True]])
    other = x.clone()
    other[0, ..., 1] = 100.0
    torch.testing.assert_close(small(name).train(training)(x, valid), small(name).train(training)(other, valid))


@pytest.mark.parametrize("name", list(TOPOLOGY_NETWORKS))
def test_a_clip_does_not_depend_on_its_batch_in_evaluation(name: str) -> None:
    model = small(name).eval()
    x = torch.randn(5, 5, 6, 17, 2)
    valid = torch.tensor([[1, 0], [1, 1], [0, 0], [0, 1], [1, 1]], dtype=torch.bool)
    together = model(x, valid)
    alone = torch.cat([model(x[i : i + 1], valid[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(model(x[order], valid[order]), together[order], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", list(TOPOLOGY_NETWORKS))
def test_a_clip_of_nobody_gets_the_classifier_bias(name: str) -> None:
    model = small(name)
    with torch.no_grad():
        model.classifier.bias.copy_(torch.arange(4.0))
    logits = model(torch.randn(2, 5, 6, 17, 2), torch.zeros(2, 2, dtype=torch.bool))
    torch.testing.assert_close(logits, torch.arange(4.0).repeat(2, 1))
    logits.sum().backward()  # a batch of nobody can still be trained on


def test_person_norm_is_batch_norm_of_each_slot() -> None:
    torch.manual_seed(0)
    norm, reference = PersonNorm(2, 3, 4), torch.nn.BatchNorm1d(24)
    x = torch.randn(5, 4, 6, 3, 2)
    rows = norm(x, torch.ones(5, 2, dtype=torch.bool))
    # (N, C, T, V, M) -> (N, M, V, C, T) -> (N, M V C, T) -> back -> (M N, C, T, V)
    expected = reference(x.permute(0, 4, 3, 1, 2).reshape(5, 24, 6)).view(5, 2, 3, 4, 6).permute(1, 0, 3, 4, 2)
    torch.testing.assert_close(rows, expected.reshape(10, 4, 6, 3))
    torch.testing.assert_close(norm.running_var.flatten(), reference.running_var)
    torch.testing.assert_close(norm.running_mean.flatten(), reference.running_mean)


def test_mean_over_persons() -> None:
    valid = torch.tensor([[True, True], [False, True], [False, False]])
    people = torch.tensor([[2.0], [4.0], [6.0]])  # slot by slot: clip 0's first; clip 0's and clip 1's second
    torch.testing.assert_close(mean_over_persons(people, valid, 3), torch.tensor([[3.0], [6.0], [0.0]]))


def test_one_clip_of_one_frame_can_be_trained_on() -> None:
    model = small()
    loss = model(torch.randn(1, 5, 1, 17, 2)).sum()
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", list(TOPOLOGY_NETWORKS))
def test_every_parameter_learns(name: str) -> None:
    model = small(name)
    torch.nn.init.ones_(model.classifier.weight[:1])
    for key, value in model.named_parameters():
        if key.endswith("alpha"):
            torch.nn.init.constant_(value, 0.3)
    torch.nn.functional.cross_entropy(model(torch.randn(6, 5, 8, 17, 2)), torch.arange(6) % 4).backward()
    still = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert still == []


def test_block_plan() -> None:
    released = [(64, 1)] * 4 + [(128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1)]
    assert block_plan(10, 64) == released
    assert block_plan(6, 16) == [(16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)]
    assert all(len(block_plan(n, 8)) == n for n in range(1, 11))


def test_build_errors() -> None:
    with pytest.raises(ValueError, match=r"'gcnn'.*choose from ctrgcn, gcn"):
        small("gcnn")
    with pytest.raises(ValueError, match="has 21 joints, the features 17"):
        build("gcn", in_channels=3, num_classes=2, num_joints=17, num_persons=1, skeleton=HAND21)
    with pytest.raises(ValueError, match="num_classes is 0"):
        small(num_classes=0)
    with pytest.raises(ValueError, match="multiple of 4"):
        small(base_channels=6)
    with pytest.raises(ValueError, match=r"expected \(N, 5, T, 17, 2\)"):
        small()(torch.randn(1, 5, 4, 17, 1))


def test_a_skeleton_of_two_joints() -> None:
    pair = from_tree("pair", ("a", "b"), (0, 0), (1, 0))
    assert small("ctrgcn", pair)(torch.randn(2, 5, 4, 2, 2)).shape == (2, 4)
