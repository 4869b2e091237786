"""X-CLIP's video side, SMCLM and HP-Net: equal to transformers, to the parts they are made of, and to themselves."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import XCLIPModel

from hpnet.core.skeleton import COCO17
from hpnet.models.multimodal import HPNet, HPNetConfig, multimodal_loss
from hpnet.models.smclm import SMCLM
from hpnet.models.streams import bone, joint_motion
from hpnet.models.xclip import VideoEncoder, reduced_config, resample_frame_positions, video_state, with_frames

XCLIP = reduced_config(
    vocab_size=320, image_size=32, patch_size=16, frames=2, width=32, layers=2, text_width=32, text_layers=1
)
GRAPH = {"model": "gcn", "base_channels": 8, "blocks": 3, "dropout": 0.0}
CONFIG = HPNetConfig(num_classes=5, video=XCLIP.to_dict(), in_channels=4, num_persons=2, skeleton=COCO17, graph=GRAPH)


def inputs(count: int = 3, frames: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    pooled = torch.randn(count, 4, frames, 17, 2, generator=generator)
    valid = torch.tensor([[True, True], [True, False], [False, False]])[torch.arange(count) % 3]
    video = torch.randint(0, 256, (count, 2, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return pooled * valid[:, None, None, None, :], valid, video


def network(**changes: Any) -> HPNet:
    torch.manual_seed(0)
    model = HPNet(replace(CONFIG, **changes)).eval()
    model.label_text.copy_(torch.randn(5, 32))
    return model


def test_video_encoder_is_transformers_xclip() -> None:
    torch.manual_seed(1)
    whole: Any = XCLIPModel(XCLIP).eval()
    part = VideoEncoder(XCLIP).eval()
    part.load_state_dict(video_state(whole.state_dict()))
    frames = torch.randint(0, 256, (2, 2, 3, 32, 32), dtype=torch.uint8)
    ids = torch.tensor([[318, 5, 9, 319], [318, 7, 2, 319], [318, 4, 4, 319]])
    with torch.no_grad():
        pixels = (frames.float() / 255 - part.mean) / part.sd
        expected = whole(input_ids=ids, pixel_values=pixels).logits_per_video
        video, patches = part(frames)
        text = whole.get_text_features(input_ids=ids).pooler_output
        found = part.similarity(video, part.prompt(text, patches))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_video_encoder_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 3, 32, 32\), expected \(N, 2, 3, 32, 32\)"):
        VideoEncoder(XCLIP)(torch.zeros(1, 3, 3, 32, 32))


def test_another_number_of_frames() -> None:
    state = video_state(XCLIPModel(XCLIP).state_dict())  # type: ignore[attr-defined]
    longer = VideoEncoder(with_frames(XCLIP, 5))
    longer.load_state_dict(resample_frame_positions(state, 5))
    assert longer(torch.zeros(2, 5, 3, 32, 32))[0].shape == (2, 32)
    assert resample_frame_positions(state, 2) is state
    with pytest.raises(ValueError, match="frames is 0"):
        with_frames(XCLIP, 0)


def test_without_prompts_the_texts_are_the_same_for_every_clip() -> None:
    pooled, valid, video = inputs()
    plain, prompted = network(prompts=False, pooled=False), network(pooled=False)
    prompted.load_state_dict(plain.state_dict())
    with torch.no_grad():
        expected = plain.video.similarity(plain.video(video)[0], plain.label_text.expand(3, -1, -1))
        torch.testing.assert_close(plain(pooled, valid, video)["logits"], expected)
        assert not torch.allclose(prompted(pooled, valid, video)["logits"], expected, atol=1e-4)
    plain.train()(pooled, valid, video)["logits"].sum().backward()
    unused = {name for name, p in plain.named_parameters() if p.grad is None}
    assert unused == {name for name, p in plain.named_parameters() if not p.requires_grad}
    assert unused == {name for name, _ in plain.named_parameters() if ".prompts_" in name}
    older = {key: value for key, value in plain.config.to_json().items() if key != "prompts"}
    assert HPNetConfig.from_json(older).prompts


def test_frozen_layers_get_no_gradient() -> None:
    encoder = VideoEncoder(XCLIP)
    encoder.freeze_layers(1)
    encoder(torch.rand(1, 2, 3, 32, 32) * 255)[0].sum().backward()
    first, second = encoder.vision_model.encoder.layers
    assert all(p.grad is None for p in [*first.parameters(), *encoder.vision_model.embeddings.parameters()])
    assert second.mlp.fc1.weight.grad is not None
    with pytest.raises(ValueError, match=r"frozen_layers is 3.*0\.\.2"):
        encoder.freeze_layers(3)


def test_smclm_is_three_independent_networks_side_by_side() -> None:
    torch.manual_seed(2)
    smclm = SMCLM(in_channels=4, num_classes=5, num_persons=2, skeleton=COCO17, graph=GRAPH).eval()
    pooled, valid, _ = inputs()
    with torch.no_grad():
        condition, logits = smclm(pooled, valid)
        views = {"p": pooled, "s": bone(pooled, COCO17.parents), "m": joint_motion(pooled, COCO17.parents)}
        parts = [smclm.networks[name].forward_features(view, valid) for name, view in views.items()]  # type: ignore[operator]
        torch.testing.assert_close(condition, torch.cat(parts, 1))
        for name, view in views.items():
            torch.testing.assert_close(logits[name], smclm.networks[name](view, valid))
    assert condition.shape == (3, smclm.feature_dim)
    with pytest.raises(ValueError, match="expected some of p, s, m"):
        SMCLM(in_channels=4, num_classes=5, num_persons=2, skeleton=COCO17, graph=GRAPH, features=("x",))


@pytest.mark.parametrize(
    ("changes", "outputs"),
    [
        ({}, {"logits", "p", "s", "m"}),
        ({"refine": "text"}, {"logits", "p", "s", "m"}),
        ({"fusion": "film"}, {"logits", "p", "s", "m"}),
        ({"fusion": "cross_attention"}, {"logits", "p", "s", "m"}),
        ({"fusion": "none"}, {"logits", "p", "s", "m"}),
        ({"smclm": False}, {"logits", "p"}),
        ({"smclm": False, "fusion": "cross_attention"}, {"logits", "p"}),
        ({"pooled": False}, {"logits"}),
    ],
)
def test_every_variant_scores_clips_one_by_one_as_in_a_batch(changes: dict[str, Any], outputs: set[str]) -> None:
    model = network(**changes)
    pooled, valid, frames = inputs()
    with torch.no_grad():
        together = model(pooled, valid, frames)
        alone = [model(pooled[i : i + 1], valid[i : i + 1], frames[i : i + 1]) for i in range(3)]
    assert set(together) == outputs
    for name in outputs:
        assert together[name].shape == (3, 5)
        assert together[name].isfinite().all()
        torch.testing.assert_close(together[name], torch.cat([a[name] for a in alone]), rtol=1e-4, atol=1e-4)


def test_pooled_features_reach_the_scores_only_where_they_should() -> None:
    pooled, valid, frames = inputs()
    moved = pooled + valid[:, None, None, None, :] * torch.randn(4, 1, 17, 1)
    with torch.no_grad():
        for changes, reaches in (({}, True), ({"fusion": "none"}, False), ({"pooled": False}, False)):
            model = network(**changes)
            same = torch.equal(model(pooled, valid, frames)["logits"], model(moved, valid, frames)["logits"])
            assert same is not reaches


def test_absent_people_do_not_count() -> None:
    model = network()
    model.pooled_mean.fill_(0.7)
    pooled, valid, frames = inputs()
    filled = torch.where(valid[:, None, None, None, :], pooled, torch.full_like(pooled, 9.0))
    with torch.no_grad():
        torch.testing.assert_close(model(filled, valid, frames)["logits"], model(pooled, valid, frames)["logits"])


def test_one_frame_of_features_and_nobody() -> None:
    pooled, _, frames = inputs(2, frames=1)
    nobody = torch.zeros(2, 2, dtype=torch.bool)
    model = network().train()
    assert model(pooled, nobody, frames)["logits"].isfinite().all()


@pytest.mark.parametrize("smclm", [True, False])
def test_cross_attention_asks_the_joints(smclm: bool) -> None:
    """F_c as one key would give every class the same change, whatever its text: the softmax of one number is 1."""
    model = network(smclm=smclm, fusion="cross_attention")
    pooled, valid, _ = inputs()
    assert model.smclm is not None
    assert model.fusion is not None
    with torch.no_grad():
        joints, logits = model.smclm(pooled, valid, True)
        condition, same = model.smclm(pooled, valid)
        assert joints.shape == (3, 17, model.smclm.feature_dim)
        torch.testing.assert_close(joints.mean(1), condition)
        for name, values in same.items():
            torch.testing.assert_close(logits[name], values)
        change = model.fusion(torch.randn(3, 5, 32), joints)
    assert float((change[:2] - change[:2, :1]).norm() / change[:2].norm()) > 1e-3
    with pytest.raises(ValueError, match=r"'heatmap_volume' has no features of: choose graph.model from ctrgcn"):
        network(fusion="cross_attention", in_channels=3, graph={**GRAPH, "model": "heatmap_volume"})


def test_scores_are_scaled_cosines() -> None:
    model = network(pooled=False)
    with torch.no_grad():
        model.video.logit_scale.fill_(20.0)
        scores = model(*inputs())["logits"]
    assert scores.abs().max() <= 100 * (1 + 1e-5)


def test_a_scale_at_its_bound_can_come_back() -> None:
    """Released CLIPs are at ln 100, which float16 rounds up."""
    model = network(pooled=False).train()
    with torch.no_grad():
        model.video.logit_scale.fill_(float(torch.tensor(math.log(100)).half()))
    multimodal_loss(model(*inputs()), torch.eye(5)[:3]).backward()
    assert float(model.video.logit_scale.detach()) == pytest.approx(math.log(100), abs=1e-6)
    assert float(model.video.logit_scale.grad.abs()) > 1e-3  # type: ignore[union-attr]


def test_config_round_trip() -> None:
    again = HPNetConfig.from_json(CONFIG.to_json())
    torch.manual_seed(0)
    first = HPNet(CONFIG)
    torch.manual_seed(0)
    second = HPNet(again)
    assert again.to_json() == CONFIG.to_json()
    second.load_state_dict(first.state_dict())


def test_loss_is_equation_14() -> None:
    torch.manual_seed(4)
    outputs = {name: torch.randn(2, 3) for name in ("logits", "p", "s", "m")}
    targets = torch.tensor([[1.0, 0, 0], [0, 0.25, 0.75]])

    def entropy(name: str) -> float:
        total = 0.0
        for row, target in zip(outputs[name].tolist(), targets.tolist(), strict=True):
            norm = math.log(sum(math.exp(v) for v in row))
            total -= sum(t * (v - norm) for v, t in zip(row, target, strict=True))
        return total / 2

    expected = entropy("logits") + 0.5 * entropy("p") + 2.0 * entropy("s") + 0.0 * entropy("m")
    assert float(multimodal_loss(outputs, targets, (0.5, 2.0, 0.0))) == pytest.approx(expected, rel=1e-5)
    alone = multimodal_loss({"logits": outputs["logits"]}, targets, (0.5, 2.0, 0.0))
    assert float(alone) == pytest.approx(entropy("logits"), rel=1e-5)


def test_scores_are_float32_under_autocast() -> None:
    model = network()
    pooled, valid, frames = inputs()
    with torch.no_grad():
        exact = model(pooled, valid, frames)["logits"]
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(pooled, valid, frames)["logits"]
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.5)
