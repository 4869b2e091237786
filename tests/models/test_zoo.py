from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from hpnet.artifacts.features import FeatureMeta
from hpnet.core.choices import load
from hpnet.core.skeleton import COCO17, HAND21, RELEASED17, Skeleton, from_tree
from hpnet.models import HEATMAP_NETWORKS, TOPOLOGY_NETWORKS
from hpnet.models.build import build
from hpnet.models.classifier import PeopleNetwork
from hpnet.models.counting import Cost, count, count_parameters
from hpnet.models.ctrgcn import CTRGCN, normed
from hpnet.models.heatmaps import (
    HeatmapEvolution,
    HeatmapVolume,
    enclosing_square,
    evolution_image,
    heatmap_volume,
    rank_pooling_weights,
)
from hpnet.models.mixformer import MixFormer, SpatialMixFormer, resampling
from hpnet.models.stgcn import SpatialGraphConv
from hpnet.models.tdgcn import TDGCN, TemporalDecouplingGraphConv
from hpnet.models.transformer import SelfAttention, frame_encoding, graph_distances
from hpnet.train.loop import Run, make_accelerator
from hpnet.train.params import TopologyParams
from hpnet.train.run import Inputs
from hpnet.train.topology import load_topology, require_input
from hpnet.train.topology import train as train_topology

from ..train.test_loop import make_clips, make_features

NAMES = ["stgcn", "tdgcn", "mixformer", "transformer", *HEATMAP_NETWORKS]
"""Those of this file's modules; CTR-GCN and GCN have their own."""


def chain(joints: int) -> Skeleton:
    """A chain of joints."""
    names = tuple(f"j{n}" for n in range(joints))
    return from_tree(f"chain{joints}", names, tuple(max(n - 1, 0) for n in range(joints)), tuple(range(joints)))


def small(name: str, *, joints: int = 17, num_persons: int = 2, num_classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"in_channels": 3, "num_classes": num_classes, "num_persons": num_persons}
    if name in HEATMAP_NETWORKS:  # smaller images than a project has
        images = {"size": 16} if name == "heatmap_volume" else {"size": 16, "image_size": 32}
        return load(HEATMAP_NETWORKS, name, "network")(
            skeleton=chain(joints), base_channels=8, blocks=3, **images, **sizes
        )
    return build(name, num_joints=joints, skeleton=chain(joints), base_channels=8, blocks=3, **sizes)


def keypoints(clips: int, frames: int, joints: int, persons: int, seed: int = 0) -> torch.Tensor:
    """(N, 3, T, V, M): positions within [-1, 1], scores within [0.5, 1]."""
    x = torch.rand(clips, 3, frames, joints, persons, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    x[:, 2] = 0.75 + x[:, 2] / 4
    return x


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "millions"), [("stgcn", 3.10), ("tdgcn", 1.37), ("mixformer", 2.04), ("transformer", 0.51), ("gcn", 1.55)]
)
def test_parameters_at_25_joints_and_60_classes(name: str, millions: float) -> None:
    """ST-GCN is published as 3.1 M, Skeleton MixFormer as 2.07 M (see its class for what is left out)."""
    model = build(name, in_channels=3, num_classes=60, num_joints=25, num_persons=2, skeleton=chain(25))
    assert round(count_parameters(model) / 1e6, 2) == millions


def test_mixformer_with_what_the_release_declares_has_the_published_size() -> None:
    model = build("mixformer", in_channels=3, num_classes=60, num_joints=25, num_persons=2, skeleton=chain(25))
    declared = 0
    widths = [80] * 4 + [160] * 3 + [320] * 3
    for number, width in enumerate(widths):
        before = widths[max(number - 1, 0)]
        declared += 50 * 25 + 25 + 1  # an unused linear layer and scalar
        declared += 2 * width // 4 + 2 * 2 * width // 5  # batch norms, unused or one after another
        declared += 5 * width // 5 + (2 * width if before != width else 0)  # biases before batch norms
    declared += 2 * 320  # biases of the retrospect connections
    declared += 80 + 25 * 80  # bias and joints of the embedding, before a batch norm
    assert round((count_parameters(model) + declared) / 1e6, 2) == 2.07


@pytest.mark.parametrize(
    ("name", "classes", "parameters", "macs"),
    [
        # Table X: 2.0 M and 20.6 G. PoseConv3D's own count adds norms, activations and pooling to these 20.4 G.
        ("heatmap_volume", 60, 2.0, 20.4),
        # Table X: 140.1 M and 19.6 G.
        ("heatmap_evolution", 120, 140.1, 19.6),
    ],
)
def test_cost_of_table_10s_baselines(name: str, classes: int, parameters: float, macs: float) -> None:
    with torch.device("meta"):
        model = build(name, in_channels=3, num_classes=classes, num_joints=17, num_persons=2, skeleton=COCO17)
        cost = count(model, torch.empty(1, 3, 48, 17, 2))
    assert round(cost.parameters / 1e6, 1) == parameters
    assert round(cost.macs / 1e9, 1) == macs


def test_a_linear_layer_is_counted_by_hand_and_left_in_training() -> None:
    layer = torch.nn.Linear(3, 5).train()
    assert count(layer, torch.zeros(7, 3)) == Cost(parameters=20, flops=2 * 7 * 3 * 5)
    assert count(layer, torch.zeros(7, 3)).macs == 105
    assert layer.training


# --- what every network must do ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("joints", "persons", "frames", "classes"),
    [(17, 1, 1, 2), (17, 2, 24, 60), (20, 2, 8, 60), (20, 1, 24, 2), (21, 1, 8, 60), (21, 2, 1, 2), (25, 2, 24, 2)],
)
def test_shapes(name: str, joints: int, persons: int, frames: int, classes: int) -> None:
    model = small(name, joints=joints, num_persons=persons, num_classes=classes)
    x = keypoints(2, frames, joints, persons)
    with torch.no_grad():
        assert model(x).shape == (2, classes)
        assert model.forward_features(x).shape == (2, model.feature_dim)
        model.eval()
        torch.testing.assert_close(model(x), model.classifier(model.forward_features(x)))


@pytest.mark.parametrize("name", TOPOLOGY_NETWORKS)
def test_features_are_the_mean_of_those_of_the_joints(name: str) -> None:
    model = small(name).eval()
    assert isinstance(model, PeopleNetwork)
    x = keypoints(3, 5, 17, 2)
    some = torch.tensor([[True, False], [False, False], [True, True]])
    with torch.no_grad():
        for valid in (None, some, torch.zeros_like(some)):
            joints = model.forward_joints(x, valid)
            assert joints.shape == (3, 17, model.feature_dim)
            torch.testing.assert_close(joints.mean(1), model.forward_features(x, valid))
            if valid is not None:
                assert not joints[1].any()
        joints = model.forward_joints(x)
        assert float(joints.std(1).max() / joints.abs().max()) > 1e-3  # joints differ


def share_of_two(rank: int, folder: Path, name: str) -> None:
    """One of two processes on a GPU: the first has every person of four clips, the second has nobody."""
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    x, valid = keypoints(4, 6, 17, 2).cuda(), torch.full((4, 2), rank == 0)
    model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(small(name)).cuda()
    logits = model(x, valid)
    F.cross_entropy(logits, torch.arange(4).cuda()).backward()
    missing = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.isfinite().all()]
    statistics = {key: value.cpu() for key, value in model.named_buffers()}
    torch.save({"logits": logits.detach().cpu(), "missing": missing, "statistics": statistics}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="several processes train on GPUs only")
@pytest.mark.parametrize("name", TOPOLOGY_NETWORKS)
def test_processes_share_batch_norm_and_nobody_takes_part(name: str, tmp_path: Path) -> None:
    """What the first process sees and keeps is that of one process; every parameter has a gradient in both."""
    torch.multiprocessing.spawn(share_of_two, (tmp_path, name), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["missing"] == second["missing"] == []
    model = small(name).cuda()
    alone = model(keypoints(4, 6, 17, 2).cuda(), torch.ones(4, 2, dtype=torch.bool))
    torch.testing.assert_close(first["logits"], alone.detach().cpu(), atol=1e-3, rtol=1e-3)
    for key, value in model.named_buffers():
        torch.testing.assert_close(second["statistics"][key], first["statistics"][key], msg=key)
        torch.testing.assert_close(first["statistics"][key], value.cpu(), atol=1e-4, rtol=1e-3, msg=key)


@pytest.mark.parametrize("name", [*TOPOLOGY_NETWORKS, *HEATMAP_NETWORKS])
def test_every_parameter_learns(name: str) -> None:
    """In float64, where rounding is far below every gradient; in float32 it would pass for one. Convolutions of CTR-GCN
    and TD-GCN have biases that a batch norm takes off, as released."""
    model = small(name).double()
    for key, value in model.named_parameters():
        if key.endswith("alpha"):  # zero at the start, and with it the gradient of what it multiplies
            torch.nn.init.constant_(value, 0.3)
    F.cross_entropy(model(keypoints(6, 8, 17, 2).double()), torch.arange(6) % 4).backward()
    gradients = {key: value.grad for key, value in model.named_parameters()}
    still = {key for key, value in gradients.items() if value is None or float(value.abs().max()) < 1e-13}
    assert {key for key in still if not (name in ("ctrgcn", "tdgcn") and key.endswith(".0.bias"))} == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_permuted_batch_gives_permuted_logits_in_evaluation(name: str) -> None:
    model = small(name).eval()
    x = keypoints(5, 6, 17, 2)
    valid = torch.tensor([[1, 0], [1, 1], [0, 0], [0, 1], [1, 1]], dtype=torch.bool)
    order = torch.tensor([3, 1, 4, 0, 2])
    with torch.no_grad():
        together = model(x, valid)
        torch.testing.assert_close(model(x[order], valid[order]), together[order], atol=1e-5, rtol=1e-4)
        alone = torch.cat([model(x[i : i + 1], valid[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_a_masked_person_has_no_influence(name: str, training: bool) -> None:
    x = keypoints(4, 6, 17, 2)
    valid = torch.tensor([[True, False], [True, True], [False, False], [True, True]])
    other = x.clone()
    other[0, ..., 1] = 100.0
    other[2] = -7.0
    with torch.no_grad():
        got, expected = (small(name).train(training)(given, valid) for given in (other, x))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("name", list(HEATMAP_NETWORKS))
def test_clips_of_nobody_get_the_classifier_bias(name: str) -> None:
    model = small(name)
    logits = model(keypoints(2, 3, 17, 2), torch.zeros(2, 2, dtype=torch.bool))
    torch.testing.assert_close(logits, model.classifier.bias.repeat(2, 1))
    logits.sum().backward()


@pytest.mark.parametrize("name", NAMES)
def test_an_optimisation_step_lowers_the_loss(name: str) -> None:
    model = small(name, num_classes=2)
    x, labels = keypoints(6, 6, 17, 2), torch.arange(6) % 2
    x[labels == 1, :, :, :5] *= 0.5
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


@pytest.mark.parametrize("name", [*NAMES, "ctrgcn", "gcn"])
def test_input_of_another_shape_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"input is \(1, 3, 4, 17, 1\), expected \(N, 3, T, 17, 2\)"):
        small(name)(torch.zeros(1, 3, 4, 17, 1))


# --- each network's own equations -------------------------------------------------------------------------------------


def test_stgcn_against_equation_10_by_loops() -> None:
    torch.manual_seed(1)
    conv = SpatialGraphConv(2, 3, torch.rand(3, 5, 5))
    torch.nn.init.uniform_(conv.importance)
    x = torch.randn(2, 2, 4, 5)
    with torch.no_grad():
        weighted = conv.weight(x).view(2, 3, 3, 4, 5)  # (P, S, C', T, V)
        expected = torch.zeros(2, 3, 4, 5)
        for s in range(3):
            for i in range(5):
                for j in range(5):
                    expected[..., i] += conv.adjacency[s, i, j] * conv.importance[s, i, j] * weighted[:, s, :, :, j]
        torch.testing.assert_close(conv(x), expected)


def test_tdgcn_layer_by_loops() -> None:
    torch.manual_seed(2)
    conv = TemporalDecouplingGraphConv(6, 4, torch.rand(3, 5, 5)).double()
    torch.nn.init.constant_(conv.alpha, 0.7)
    x = torch.randn(2, 6, 3, 5, dtype=torch.double)
    with torch.no_grad():
        values = conv.transform(x).view(2, 3, 4, 3, 5)  # (P, S, C', T, V)
        phi = conv.phi(x.mean(2)).view(2, 3, 8, 5)
        expected = torch.zeros(2, 4, 3, 5, dtype=torch.double)
        for s in range(3):
            for i in range(5):
                for j in range(5):
                    relation = torch.tanh(phi[:, s, :, i] - phi[:, s, :, j]) @ conv.xi_weight[s].T  # (P, C')
                    channel = conv.topology[s, i, j] + conv.alpha * (relation + conv.xi_bias[s, :, 0])
                    frame = torch.tanh(values[:, s, :, :, i].mean(1) - values[:, s, :, :, j].mean(1))  # (P, T)
                    both = conv.beta * channel[:, :, None] + conv.gamma * frame[:, None, :]
                    expected[:, :, :, i] += both * values[:, s, :, :, j]
        torch.testing.assert_close(conv(x.transpose(2, 3)).transpose(2, 3), expected)  # frames last and back


def test_tdgcn_without_its_frame_graphs_treats_every_frame_alike() -> None:
    """What decouples time: with gamma = 0 and a graph of the whole clip the layer is one linear map for all frames."""
    torch.manual_seed(3)
    conv = TemporalDecouplingGraphConv(4, 4, torch.rand(3, 5, 5))
    x = torch.randn(1, 4, 5, 2)
    doubled = x.clone()
    doubled[..., 0] *= 2
    torch.nn.init.zeros_(conv.transform.bias)
    with torch.no_grad():
        assert not torch.allclose(conv(doubled)[..., 0], 2 * conv(x)[..., 0])
        torch.nn.init.zeros_(conv.gamma)
        torch.testing.assert_close(conv(doubled)[..., 0], 2 * conv(x)[..., 0])


def test_tdgcn_starts_as_its_shortcuts() -> None:
    model = small("tdgcn")
    assert isinstance(model, TDGCN)
    x = torch.randn(2, 3, 17, 6)
    block = model.blocks[0].eval()
    shortcut = normed(block.shortcut, x)
    torch.testing.assert_close(
        torch.relu(block.norm(block.graph(x)) + shortcut), torch.relu(shortcut), atol=1e-4, rtol=0
    )


def test_mix_attention_rows_are_weights_over_joints() -> None:
    torch.manual_seed(4)
    spatial = SpatialMixFormer(8, 8, torch.rand(3, 5, 5))
    with torch.no_grad():
        attention = spatial.mix_attention(torch.randn(2, 3, 4, 2, 5))
    assert attention.shape == (2, 3, 4, 5, 5)
    # a half of one's own, a quarter with each neighbour: the outer groups have one
    torch.testing.assert_close(attention.sum(4), torch.tensor([0.75, 1, 1, 0.75])[:, None].expand(2, 3, 4, 5))


def test_mixformer_layer_by_loops() -> None:
    torch.manual_seed(5)
    spatial = SpatialMixFormer(3, 16, torch.rand(3, 5, 5)).eval()
    torch.nn.init.uniform_(spatial.learned)
    x = torch.randn(2, 3, 4, 5)
    with torch.no_grad():
        values = spatial.transform(x).view(2, 3, 16, 4, 5)  # (P, S, C', T, V)
        halves = [values[:, :, 2 * n : 2 * n + 2].mean((2, 3)) for n in range(8)]  # (P, S, V): query, key, query, ...
        query, key = halves[0::2], halves[1::2]

        def attend(layer: torch.nn.Module, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return torch.einsum("psv,psw->psvw", layer(a).relu(), layer(b).relu()).softmax(3)

        across = [attend(spatial.between, key[g], query[g + 1]) / 4 for g in range(3)]
        y = torch.zeros(2, 16, 4, 5)
        for channel in range(16):
            g = channel // 4
            attention = attend(spatial.within, query[g], key[g]) / 2
            attention = attention + sum(across[n] for n in (g - 1, g) if 0 <= n < 3)
            graph = attention / 2 + spatial.adjacency + spatial.learned[:, channel // 2]  # (P, S, V, V)
            y[:, channel] = torch.einsum("psvw,pstw->ptv", graph, values[:, :, channel])
        weight = spatial.reform(y.mean((2, 3))[:, None])[:, 0]
        y = y + y * weight.sigmoid()[:, :, None, None]
        torch.testing.assert_close(spatial(x), torch.relu(spatial.norm(y) + spatial.shortcut(x)))


def test_resampling_to_the_same_length_is_the_identity() -> None:
    for there, expected in zip(resampling(7, 7), (torch.eye(7), torch.eye(7)), strict=True):
        torch.testing.assert_close(there, expected)
    there, back = resampling(3, 8)
    torch.testing.assert_close(torch.tensor([0.0, 7.0, 14.0]) @ there, torch.arange(0.0, 16.0, 2.0))
    torch.testing.assert_close(back.sum(0), torch.ones(3))


def test_mixformers_retrospect_connections_reach_the_features() -> None:
    model = small("mixformer").eval()
    assert isinstance(model, MixFormer)
    x = keypoints(2, 7, 17, 2)
    with torch.no_grad():
        before = model(x)
        for connection in model.retrospect:
            torch.nn.init.zeros_(connection[0].weight)
        assert not torch.allclose(model(x), before)


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(6)
    layer = SelfAttention(8)
    x, bias = torch.randn(3, 5, 8), torch.randn(4, 5, 5)
    with torch.no_grad():
        parts = [part.view(3, 5, 4, 2).transpose(1, 2) for part in layer.to_query_key_value(x).chunk(3, dim=2)]
        expected = F.scaled_dot_product_attention(*parts, attn_mask=bias).transpose(1, 2).reshape(3, 5, 8)
        torch.testing.assert_close(layer(x, bias), layer.out(expected))


def test_graph_distances() -> None:
    distances = graph_distances(COCO17)
    assert (distances == distances.T).all()
    assert not distances.diagonal().any()
    assert distances[0, 3] == 2  # nose, eye, ear
    assert distances[9, 10] == 6  # wrist to wrist over the nose
    apart = graph_distances(RELEASED17)  # its ears are isolated
    assert (apart[3, [0, 4, 9]] == apart.max()).all()
    assert apart[3, 3] == 0
    assert np.unique(apart).tolist() == list(range(apart.max() + 1))


def test_frame_encoding_tells_frames_apart() -> None:
    encoding = frame_encoding(64, 8)
    assert encoding.shape == (64, 8)
    np.testing.assert_allclose(encoding[3, :2], [np.sin(3), np.cos(3)], rtol=1e-6)
    assert torch.cdist(encoding, encoding).fill_diagonal_(1).min() > 0.1


def test_mixformer_widths_are_multiples_of_forty() -> None:
    widths = [small_mixformer(base).feature_dim for base in (8, 32, 40, 64)]
    assert widths == [40, 40, 80, 80]


def small_mixformer(base_channels: int) -> MixFormer:
    return MixFormer(
        in_channels=3, num_classes=2, num_persons=1, skeleton=chain(2), base_channels=base_channels, blocks=1
    )


# --- heatmaps ---------------------------------------------------------------------------------------------------------


def test_a_gaussian_stands_at_each_keypoint() -> None:
    """PoseConv3D, Eq. (1), by its definition in cells."""
    x = keypoints(1, 2, 3, 1)
    x[0, :2, :, :, 0] = torch.tensor([[0.0, 10.0, 4.0], [0.0, 10.0, 7.0]])[:, None]
    valid = torch.ones(1, 1, dtype=torch.bool)
    volume = heatmap_volume(x, valid, size=21, sigma=0.6)
    assert volume.shape == (1, 3, 2, 21, 21)
    # a square of 12.5 around (5, 5), 20 cells wide between the first and the last
    cells = (torch.tensor([[0.0, 0], [10, 10], [4, 7]]) + 1.25) / 12.5 * 20
    rows, columns = torch.meshgrid(torch.arange(21.0), torch.arange(21.0), indexing="ij")
    for v, (cx, cy) in enumerate(cells):
        for t in range(2):
            expected = torch.exp(-((columns - cx) ** 2 + (rows - cy) ** 2) / (2 * 0.6**2)) * x[0, 2, t, v, 0]
            torch.testing.assert_close(volume[0, v, t], expected, atol=1e-6, rtol=1e-4)


def test_a_volume_does_not_depend_on_place_and_size_of_the_people() -> None:
    x, valid = keypoints(3, 4, 5, 2), torch.tensor([[True, True], [True, False], [False, True]])
    moved = x.clone()
    moved[:, :2] = moved[:, :2] * 37.0 + 500.0
    torch.testing.assert_close(heatmap_volume(moved, valid), heatmap_volume(x, valid), atol=2e-3, rtol=0)


def test_people_are_drawn_together_by_their_maximum_and_nobody_not_at_all() -> None:
    x = keypoints(1, 2, 4, 2)
    x[0, :2, :, :2] = torch.tensor([[-2.0, 2.0], [-2.0, 2.0]])[:, None, :, None]  # the same square for each and both
    both, first, second, nobody = (
        heatmap_volume(x, torch.tensor([mask])) for mask in ([True, True], [True, False], [False, True], [False, False])
    )
    torch.testing.assert_close(both, torch.maximum(first, second))
    assert not nobody.any()
    assert not heatmap_volume(x * torch.tensor([1.0, 1, 0]).view(1, 3, 1, 1, 1), torch.tensor([[True, True]])).any()


def test_the_square_ignores_keypoints_that_were_not_seen() -> None:
    x = keypoints(1, 2, 4, 1)
    x[0, :, 1] = 0
    x[0, 0, 0] += 5
    square = enclosing_square(x, torch.ones(1, 1, dtype=torch.bool))
    low, high = x[0, :2, 0].flatten(1).amin(1), x[0, :2, 0].flatten(1).amax(1)
    torch.testing.assert_close(square.side[0], (high - low).max() * 1.25)
    torch.testing.assert_close(square.corner[0] + square.side[0] / 2, (low + high) / 2)


@pytest.mark.parametrize("length", [1, 2, 9])
def test_rank_pooling_weights_are_the_sum_over_pairs_of_prefix_means(length: int) -> None:
    """The definition: sum over q > t of V_q - V_t, V_t the mean of the first t."""
    sequence = np.random.default_rng(0).standard_normal(length)
    means = np.cumsum(sequence) / np.arange(1, length + 1)
    expected = sum(means[q] - means[t] for t in range(length) for q in range(t + 1, length))
    np.testing.assert_allclose(rank_pooling_weights(length).numpy() @ sequence, expected, atol=1e-5)


def test_an_evolution_image_shows_space_against_time() -> None:
    volume = torch.zeros(1, 2, 5, 16, 16)
    for t in range(5):
        volume[0, :, t, 12, 3 + t] = 1.0  # low on the picture, moving to the right
    image = evolution_image(volume)
    assert image.shape == (1, 2, 16, 5)
    assert image[0, 0].argmax(0).tolist() == [3, 4, 5, 6, 7]
    assert (image[0, 1].abs().argmax(0) == 12).all()
    assert image.abs().max() == 1
    assert not evolution_image(torch.zeros_like(volume)).any()
    assert not torch.equal(evolution_image(volume.flip(2)), image)


@pytest.mark.parametrize("network", [HeatmapVolume, HeatmapEvolution])
def test_heatmap_networks_want_keypoints(network: type[HeatmapVolume] | type[HeatmapEvolution]) -> None:
    with pytest.raises(ValueError, match=r"have 96 channels: set pool\.kind to 'pose2d'"):
        network(in_channels=96, num_classes=2, num_persons=1, skeleton=HAND21)


def test_image_size_must_survive_five_halvings() -> None:
    with pytest.raises(ValueError, match="image_size is 100, expected a multiple of 32"):
        HeatmapEvolution(in_channels=3, num_classes=2, num_persons=1, skeleton=HAND21, image_size=100)


# --- by name ----------------------------------------------------------------------------------------------------------


def meta(kind: str) -> FeatureMeta:
    return FeatureMeta(kind=kind, tap="h2s3", region=1, operator="mean", skeleton=COCO17)


def test_names_are_checked_before_training() -> None:
    everything = "ctrgcn, gcn, mixformer, stgcn, tdgcn, transformer, heatmap_volume, heatmap_evolution"
    with pytest.raises(ValueError, match=f"unknown topology network 'st-gcn'.*: choose from {everything}"):
        require_input("st-gcn", "hpj", meta("pooled"))
    with pytest.raises(
        ValueError, match=r"draws 2-D keypoints, but the features are 'pooled': set pool\.kind to 'pose2d'"
    ):
        require_input("heatmap_volume", "hpj", meta("pooled"))
    with pytest.raises(ValueError, match="cannot use the 'hpbm' stream: train 'hpj'"):
        require_input("heatmap_evolution", "hpbm", meta("pose2d"))
    for name in TOPOLOGY_NETWORKS:
        require_input(name, "hpbm", meta("pooled"))
    for name in HEATMAP_NETWORKS:
        require_input(name, "hpj", meta("pose2d"))


def test_a_heatmap_network_trains_on_keypoints_as_they_are(tmp_path: Path) -> None:
    clips = make_clips(["train"] * 3 + ["val"] * 2 + ["test"] * 2)
    graph = {"model": "heatmap_volume", "base_channels": 4, "blocks": 1}
    train_topology(
        "hpj",
        Inputs(clips, make_features(clips, frames=2, channels=3, kind="pose2d")),
        TopologyParams.model_validate({"graph": graph, "epochs": 1, "batch_size": 4, "warmup_epochs": 0, "flip": 0.5}),
        Run(1, tmp_path / "work", make_accelerator(torch.device("cpu"))),
        out=tmp_path / "hpj",
        card={},
    )
    model = load_topology(tmp_path / "hpj")
    assert isinstance(model.network, HeatmapVolume)
    x, valid = keypoints(2, 2, 17, 2), torch.ones(2, 2, dtype=torch.bool)
    torch.testing.assert_close(model.prepare(x, valid), x)


@pytest.mark.parametrize("name", sorted(TOPOLOGY_NETWORKS))
@pytest.mark.parametrize(("joints", "channels", "persons", "classes"), [(1, 2, 1, 2), (5, 7, 3, 600), (25, 3, 2, 60)])
def test_built_without_naming_a_skeleton(name: str, joints: int, channels: int, persons: int, classes: int) -> None:
    sizes = {"in_channels": channels, "num_classes": classes, "num_joints": joints, "num_persons": persons}
    model = build(name, **sizes, base_channels=8, blocks=2).eval()
    logits = model(torch.randn(2, channels, 1, joints, persons))
    assert logits.shape == (2, classes)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_built_by_name(name: str) -> None:
    sizes = {"in_channels": 3, "num_classes": 2, "num_joints": 17, "num_persons": 1}
    with torch.device("meta"):
        model = build(name, **sizes, skeleton=COCO17, base_channels=8, blocks=2, dropout=0.5)
    assert type(model) is load({**TOPOLOGY_NETWORKS, **HEATMAP_NETWORKS}, name, "network")
    assert not isinstance(model, CTRGCN)
    assert any(isinstance(module, torch.nn.Dropout) and module.p == 0.5 for module in model.modules())
