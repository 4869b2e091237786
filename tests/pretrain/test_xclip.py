"""Captions, crops and the contrastive loop on coloured squares."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import XCLIPModel

from hpnet.models.xclip import reduced_config
from hpnet.pretrain.scenes import RenderedScene, SceneShard, write_shard
from hpnet.pretrain.steps import Job, Scenes
from hpnet.pretrain.xclip import (
    AVERAGE,
    SETTINGS,
    CaptionedVideos,
    Placement,
    Shares,
    action_caption,
    augment,
    centre_crop,
    contrastive_loss,
    cut_squares,
    fit_captions,
    initialise,
    joints_in_patches,
    load_videos,
    mirrored,
    random_placement,
    retrieval,
    stored_square,
    train_xclip,
)
from hpnet.train.averaging import moving_average
from hpnet.train.text import train_tokenizer

COLOURS = {"crimson": (200, 20, 20), "lime": (20, 200, 20), "navy": (20, 20, 200), "amber": (200, 200, 20)}
SIZES = {"image_size": 32, "patch_size": 16, "frames": 2, "width": 32, "layers": 1, "text_width": 32, "text_layers": 1}


def test_mirrored_swaps_left_and_right() -> None:
    caption = "a person holds a box in the left hand and a leftover in the right hand"
    assert mirrored(caption) == "a person holds a box in the right hand and a leftover in the left hand"
    assert mirrored(mirrored(caption)) == caption


@pytest.mark.parametrize(
    ("caption", "action"),
    [
        ("a person in a red striped top is lifting a blue box with the left hand", "a person is lifting a box"),
        ("we see someone dressed in red checked and pink shrugging", "a person is shrugging"),
        ("a video of a person in grey trousers waving a bag in the right hand", "a person is waving a bag"),
        ("two persons are passing a red ball to each other", "two people are passing a ball to each other"),
        (
            "a person in a red shirt and a person in a blue checked shirt hugging each other",
            "two people are hugging each other",
        ),
    ],
)  # fmt: skip
def test_action_caption_drops_clothes_colours_and_hands(caption: str, action: str) -> None:
    assert action_caption(caption) == action


@pytest.mark.parametrize(
    "caption",
    [
        "an empty room",
        "a group of four people",
        "a person is bowing and somebody is walking",
        "two people, a person walking and a person in a red top bowing",
    ],
)
def test_captions_of_no_single_action(caption: str) -> None:
    assert action_caption(caption) is None


def test_stored_square_and_cut() -> None:
    boxes = np.array([[[40, 20, 60, 80], [0, 0, 0, 0]], [[50, 30, 70, 80], [0, 0, 0, 0]]], dtype=np.float32)
    x, y, side = stored_square(boxes, (100, 100))
    assert (x + side / 2, y + side / 2) == pytest.approx((55, 50))
    assert side == pytest.approx(60 * 1.1 * 1.3)
    frames = np.zeros((1, 100, 100, 3), np.uint8)
    frames[0, 45:55, 50:60] = 255
    cut = cut_squares(frames, (x, y, side), 40)
    assert cut.shape == (1, 40, 40, 3)
    bright = np.argwhere(cut[0, ..., 0] > 128)
    assert bright.mean(0) == pytest.approx([19.5, 19.5], abs=1.0)
    empty = stored_square(np.zeros((2, 1, 4), np.float32), (100, 60))
    assert empty == pytest.approx((50 - 65, 30 - 65, 130))


def test_crops_flip_and_are_seeded() -> None:
    rng = np.random.default_rng(0)
    videos = torch.from_numpy(rng.integers(0, 256, (3, 2, 48, 48, 3), dtype=np.uint8))
    flipped = torch.tensor([True, False, True])

    def drawn(mirror: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(5)
        return augment(videos, 32, random_placement(mirror, generator), generator)

    first, again, other = drawn(flipped), drawn(flipped), drawn(~flipped)
    assert first.shape == (3, 2, 3, 32, 32)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert first.min() >= 0
    assert first.max() <= 255
    plain = centre_crop(torch.full((1, 1, 48, 48, 3), 100, dtype=torch.uint8), 32)
    torch.testing.assert_close(plain, torch.full((1, 1, 3, 32, 32), 100.0))


def test_loss_counts_equal_captions_as_positives() -> None:
    owner = torch.tensor([0, 0, 1])
    scores = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    to_text = -(math.log(math.exp(2) / (math.exp(2) + 1)) + math.log(math.e / (math.e + 1)))
    to_text = (to_text - math.log(math.exp(3) / (math.exp(3) + 1))) / 3
    norm = math.log(math.exp(2) + math.e + 1)
    first = norm - (2.0 + 1.0) / 2
    second = math.log(2 + math.exp(3)) - 3.0
    assert float(contrastive_loss(scores, owner)) == pytest.approx((to_text + (first + second) / 2) / 2, rel=1e-5)


def test_joints_fall_into_the_patches_where_they_are_drawn() -> None:
    """A white dot at a joint lights up the patch that the target names, mirrored or not."""
    size, side = 104, 4
    generator = torch.Generator().manual_seed(1)
    placement = random_placement(torch.tensor([True, False] * 4), generator)
    rng = np.random.default_rng(3)
    joints = torch.full((8, 1, 1, 17, 2), float("nan"))
    videos = torch.zeros(8, 1, size, size, 3, dtype=torch.uint8)
    for n in range(8):
        x, y = rng.integers(30, 74, 2)
        videos[n, 0, y - 1 : y + 2, x - 1 : x + 2] = 255
        joints[n, 0, 0, 9] = torch.tensor([x + 0.5, y + 0.5]) / size * 2 - 1
    targets = joints_in_patches(joints, placement, side)
    for n in range(8):
        (patch,), (joint,) = targets[n, 0].nonzero(as_tuple=True)
        assert int(joint) == (10 if n % 2 == 0 else 9)
        seen = crop_of(videos[n : n + 1], placement, n)
        patches = torch.nn.functional.avg_pool2d(seen[:, :1], seen.shape[-1] // side).flatten()
        assert int(patches.argmax()) == int(patch)
    assert not joints_in_patches(
        torch.full((1, 1, 1, 17, 2), 3.0), random_placement(torch.tensor([False]), generator), 4
    ).any()


def crop_of(video: torch.Tensor, placement: Placement, n: int) -> torch.Tensor:
    """Without colour changes: (1, 3, 64, 64)."""
    own = Placement(*(getattr(placement, f)[n : n + 1] for f in ("zoom_x", "zoom_y", "shift_x", "shift_y")))
    theta = torch.tensor([[[own.zoom_x, 0, own.shift_x], [0, own.zoom_y, own.shift_y]]])
    grid = torch.nn.functional.affine_grid(theta, [1, 3, 64, 64], align_corners=False)
    return torch.nn.functional.grid_sample(video[0].permute(0, 3, 1, 2).float(), grid, align_corners=False)


def test_start_tells_places_apart() -> None:
    torch.manual_seed(0)
    model = XCLIPModel(reduced_config(vocab_size=320))
    initialise(model)
    places = model.vision_model.embeddings.position_embedding.weight[1:].detach()
    nearest = torch.cdist(places, places).fill_diagonal_(9).min()
    assert nearest > 0.5
    assert places.std() == pytest.approx(0.35, abs=0.05)


NO_JOINTS = np.full((32, 2, 1, 17, 2), np.nan, np.float32)


def coloured(count: int, seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    """(count, 2, 48, 48, 3) squares of a colour on noise, and their captions."""
    rng = np.random.default_rng(seed)
    names = [list(COLOURS)[i % len(COLOURS)] for i in range(count)]
    frames = rng.integers(60, 120, (count, 2, 48, 48, 3), dtype=np.uint8)
    for video, name in zip(frames, names, strict=True):
        y, x = rng.integers(6, 14, 2)
        video[:, y : y + 28, x : x + 28] = COLOURS[name]
    return frames, [f"a person is holding a {name} square" for name in names]


def test_loop_learns_coloured_squares() -> None:
    torch.manual_seed(0)
    frames, captions = coloured(32, 1)
    tokenizer = train_tokenizer(captions, 320)
    model = XCLIPModel(reduced_config(vocab_size=tokenizer.get_vocab_size(), **SIZES))
    average = moving_average(model, AVERAGE, buffers=False)
    settings = replace(SETTINGS, steps=80, batch=16, weight_decay=0.01)
    videos = CaptionedVideos(frames, tuple(captions), NO_JOINTS)
    losses = fit_captions(model, average, tokenizer, videos, settings, Job(), Shares(help=0.0))
    assert losses[-1] < 0.7 * losses[0]
    held_out, their_captions = coloured(16, 2)
    quality = retrieval(average.module, tokenizer, CaptionedVideos(held_out, tuple(their_captions), NO_JOINTS[:16]))
    assert quality["video_to_text_r1"] >= 0.75
    assert quality["text_to_video_r1"] >= 0.75
    assert quality["action_top1"] >= 0.75
    assert quality["retrieval_chance"] == 0.25


def shard(folder: Path, seed: int, count: int) -> SceneShard:
    frames, captions = coloured(count, seed)
    boxes = np.tile(np.array([10, 10, 40, 40], np.float32), (2, 1, 1))
    scenes = [
        RenderedScene(
            seed * 100 + i, caption, video, boxes, np.zeros((2, 1, 17, 2), np.float32), np.ones((2, 1, 17), bool)
        )
        for i, (video, caption) in enumerate(zip(frames, captions, strict=True))
    ]
    write_shard(folder / f"scenes-{seed}.safetensors", scenes)
    return SceneShard(folder / f"scenes-{seed}.safetensors")


def test_training_from_shards_writes_a_checkpoint_with_its_card(tmp_path: Path) -> None:
    from hpnet.train.xclip import load_xclip

    train, held_out = shard(tmp_path, 1, 8), shard(tmp_path, 2, 4)
    assert load_videos([train], frames=2, size=48).frames.shape == (8, 2, 48, 48, 3)
    seen: list[int] = []
    settings = replace(SETTINGS, steps=12, batch=8)
    job = Job("cpu", on_step=lambda step, loss: seen.append(step))
    scenes = Scenes([train], [held_out])
    training = train_xclip(tmp_path, scenes, settings, job, vocab_size=320, sizes=SIZES)
    assert seen == [10, 12]
    assert {"text_to_video_r1", "video_to_text_r1", "retrieval_chance"} <= set(training.quality)
    folder = tmp_path / "mannequin-xclip"
    assert {"config.json", "model.safetensors", "tokenizer.json", "card.json"} == {f.name for f in folder.iterdir()}
    checkpoint = load_xclip(str(folder), frames=3)
    assert checkpoint.model.config.vision_config.num_frames == 3


def test_missing_checkpoints_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpnet.train.xclip import load_xclip

    monkeypatch.setenv("HPNET_WEIGHTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"not a folder with a config\.json"):
        load_xclip("no-such-xclip")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        load_xclip("half")
