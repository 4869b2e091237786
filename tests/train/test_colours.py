"""Colour jitter and grey frames: each change against what it is by definition, and the same numbers for a seed."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from hpnet.train.colours import (
    JITTER,
    change_brightness,
    change_contrast,
    change_hue,
    change_saturation,
    recolour,
    to_grey,
)


@pytest.fixture
def frames() -> torch.Tensor:
    """(3, 3, 5, 5) in 0.2..0.7, so that a small change is not cut off."""
    return 0.2 + 0.5 * torch.rand(3, 3, 5, 5, generator=torch.Generator().manual_seed(2))


def amounts(*by: float) -> torch.Tensor:
    return torch.tensor(by).view(-1, 1, 1, 1)


@pytest.mark.parametrize("name", JITTER)
def test_no_change_is_no_change_and_frames_are_changed_by_themselves(name: str, frames: torch.Tensor) -> None:
    change, most = JITTER[name]
    changed = change(frames, amounts(0.0, most, -most))
    torch.testing.assert_close(changed[0], frames[0])
    assert not torch.allclose(changed[1], frames[1], atol=0.01)
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_hue_is_that_of_hsv(frames: torch.Tensor) -> None:
    changed = change_hue(frames, amounts(0.1, -0.1, 0.5))
    for frame, seen, by in zip(frames, changed, (0.1, -0.1, 0.5), strict=True):
        for y, x in ((0, 0), (2, 3), (4, 1)):
            hue, saturation, value = colorsys.rgb_to_hsv(*frame[:, y, x].tolist())
            expected = colorsys.hsv_to_rgb((hue + by) % 1, saturation, value)
            assert seen[:, y, x].tolist() == pytest.approx(expected, abs=1e-5)
    grey = torch.full((1, 3, 2, 2), 0.4)
    torch.testing.assert_close(change_hue(grey, amounts(0.3)), grey)


def test_brightness_contrast_and_saturation_at_their_ends(frames: torch.Tensor) -> None:
    ends = amounts(-1.0, -1.0, -1.0)
    assert not change_brightness(frames, ends).any()
    flat = change_contrast(frames, ends)
    torch.testing.assert_close(flat, to_grey(frames).mean((1, 2, 3), keepdim=True).expand_as(flat))
    torch.testing.assert_close(change_saturation(frames, ends), to_grey(frames).expand_as(frames))
    torch.testing.assert_close(change_brightness(frames, amounts(0.2, 0.2, 0.2)), frames * 1.2)


def test_recolour_by_probability_and_seed(frames: torch.Tensor) -> None:
    clip = frames * 255
    torch.testing.assert_close(recolour(clip, np.random.default_rng(0), 0.0, 0.0), clip)
    grey = recolour(clip, np.random.default_rng(0), 0.0, 1.0)
    torch.testing.assert_close(grey, (to_grey(frames) * 255).expand_as(clip))
    first, second = (recolour(clip, np.random.default_rng(4), 1.0, 0.0) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.allclose(first, clip, atol=2)
    assert first.min() >= 0
    assert first.max() <= 255
    # a clip that is not changed is divided by 255 and multiplied again, which may round
    far = [not torch.allclose(recolour(clip, np.random.default_rng(s), 0.8, 0.0), clip, atol=0.01) for s in range(300)]
    assert 0.74 < np.mean(far) < 0.86
