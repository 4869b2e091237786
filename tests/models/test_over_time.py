"""Statistics over time, of the whole clip and of its parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpnet.models.over_time import areas, by_motion, of_distances, parts_over_time, shares_of_parts


def test_statistics_over_time_are_those_of_their_names() -> None:
    x = torch.tensor([0.0, 1.0, 5.0]).view(1, 1, 3, 1, 1)
    mean, sd, change = parts_over_time(x).flatten().tolist()
    assert (mean, change) == (2.0, 2.5)
    assert sd == pytest.approx(np.std([0, 1, 5]))
    apart = torch.tensor([[[4.0], [3.0], [2.0]]])
    assert of_distances(apart).flatten().tolist() == pytest.approx([3, np.std([4, 3, 2]), 2, -2])  # they approach


def test_statistics_of_parts_are_those_of_a_clip_that_is_the_part() -> None:
    x = torch.randn(2, 3, 8, 4, 2, generator=torch.Generator().manual_seed(0)) + 5
    found = parts_over_time(x, (1, 2)).view(2, 3, 3, 3, 4, 2)  # statistic, part
    torch.testing.assert_close(found[:, :, 0], parts_over_time(x), rtol=1e-4, atol=1e-4)
    for part, own in ((1, x[:, :, :4]), (2, x[:, :, 4:])):
        torch.testing.assert_close(found[:, :2, part], parts_over_time(own)[:, :2], rtol=1e-4, atol=1e-4)
    apart = x[:, 0, :, :, 0]
    halves = of_distances(apart, (2,)).view(2, 6, 4)
    torch.testing.assert_close(halves[:, 0], apart[:, :4].mean(1))
    torch.testing.assert_close(halves[:, 3], apart[:, 4:].std(1, correction=0), rtol=1e-4, atol=1e-4)


def test_a_frame_on_a_border_belongs_to_both_parts() -> None:
    x = torch.tensor([1.0, 2, 3, 4, 5]).view(1, 1, 5, 1, 1)
    first, second = parts_over_time(x, (2,)).flatten()[:2].tolist()
    assert first == pytest.approx((1 + 2 + 3 / 2) / 2.5)
    assert second == pytest.approx((3 / 2 + 4 + 5) / 2.5)
    for frames in (1, 3, 32):  # every part is a mean, also where there are fewer frames than parts
        shares = shares_of_parts(x, frames, (1, 2, 4))
        assert shares.shape == (frames, 7)
        torch.testing.assert_close(shares.sum(0), torch.ones(7))
        torch.testing.assert_close(shares[:, 3:].sum(1), torch.full((frames,), 4 / frames))


def test_a_circle_and_the_same_circle_backwards_have_opposite_areas() -> None:
    angles = torch.linspace(0, 2 * torch.pi, 65)
    circle = torch.stack([3 + 2 * angles.cos(), 2 * angles.sin()])[None, :, :, None, None]  # (1, 2, T, 1, 1), radius 2
    found = areas(circle, ((0, 1),), (1, 2)).flatten()
    torch.testing.assert_close(found, torch.tensor([8.0, 4, 4]) * torch.pi, rtol=0.02, atol=0.3)
    torch.testing.assert_close(areas(circle.flip(2), ((0, 1),)).flatten(), -found[:1], rtol=1e-4, atol=1e-3)
    assert areas(circle[:, :, :1], ((0, 1),)).flatten().tolist() == [0]


def test_the_clock_of_motion_does_not_see_how_long_somebody_waits() -> None:
    path = torch.linspace(0, 1, 20)
    waits = torch.cat([torch.zeros(44), path])
    acts = torch.linspace(0, 1, 64)
    x = torch.stack([waits, acts]).view(2, 1, 64, 1, 1)
    late, even = by_motion(x)[:, 0, :, 0, 0]
    torch.testing.assert_close(even, acts, rtol=0, atol=1e-4)
    assert float((waits > 0.5).sum()) == 10
    assert 20 < float((late > 0.5).sum()) <= 32  # of 64; with no motion at rest it would be half
    assert (late.diff() >= -1e-5).all()
    assert (float(late[0]), float(late[-1])) == (0, pytest.approx(1, abs=1e-4))


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_who_does_not_move_stays_as_they_are(frames: int) -> None:
    x = torch.full((2, 3, frames, 4, 2), 7.0)
    torch.testing.assert_close(by_motion(x), x)
