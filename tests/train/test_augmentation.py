from __future__ import annotations

import numpy as np
import pytest
import torch

from hpnet.core.skeleton import COCO17
from hpnet.train.augmentation import (
    Mixture,
    draw_box,
    draw_mixture,
    even_places,
    from_behind,
    one_hot_targets,
    random_places,
    resample_time,
    rotate,
    rotation_matrices,
)


def test_a_quarter_turn_about_each_axis() -> None:
    quarter = torch.eye(3) * torch.pi / 2
    points = torch.eye(3)  # x, y, z as columns
    turned = rotation_matrices(quarter) @ points
    expected = torch.tensor(
        [[[1, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], [[0, -1, 0], [1, 0, 0], [0, 0, 1]]]
    )
    torch.testing.assert_close(turned, expected.float(), atol=1e-6, rtol=0)


def test_rotation_keeps_lengths_and_its_clip() -> None:
    poses = torch.randn(2, 3, 4, 5, 2)
    turned = rotate(poses, torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(turned.norm(dim=1), poses.norm(dim=1))
    torch.testing.assert_close(turned[1], poses[1])
    assert not torch.allclose(turned[0], poses[0], atol=0.1)
    with pytest.raises(ValueError, match="5 channels, only 3-D poses"):
        rotate(torch.zeros(1, 5, 2, 2, 1), torch.zeros(1, 3))


def ramp(clips: int, frames: int) -> torch.Tensor:
    """Clips whose every value is its frame's number."""
    return torch.arange(float(frames)).view(1, 1, frames, 1, 1).expand(clips, 1, frames, 1, 1)


def test_a_cropped_ramp_is_a_ramp_of_its_span() -> None:
    places = even_places(torch.tensor([0.0, 0.25]), torch.tensor([1.0, 0.5]), 9)
    cropped = resample_time(ramp(2, 9), places)[:, 0, :, 0, 0]
    torch.testing.assert_close(cropped[0], torch.arange(9.0))
    torch.testing.assert_close(cropped[1], torch.linspace(2, 6, 9))


def test_from_behind_is_a_half_turn_with_swapped_sides_and_its_own_inverse() -> None:
    x = torch.randn(2, 3, 4, 17, 2)
    chosen = torch.tensor([True, False])
    seen = from_behind(x, chosen, COCO17.mirror)
    torch.testing.assert_close(seen[1], x[1])
    left, right = COCO17.joints.index("left_wrist"), COCO17.joints.index("right_wrist")
    half_turn = rotate(x, torch.tensor([[0.0, np.pi, 0.0]] * 2))
    torch.testing.assert_close(seen[0, :, :, left], half_turn[0, :, :, right], rtol=0, atol=1e-5)
    torch.testing.assert_close(from_behind(seen, chosen, COCO17.mirror), x)
    # a body that its tracker names the wrong way round is the same body again once it is aligned by its own shoulders
    standing = torch.zeros(1, 3, 1, 17, 1)
    shoulders = [COCO17.joints.index(f"{side}_shoulder") for side in ("left", "right")]
    standing[0, 0, 0, shoulders, 0] = torch.tensor([0.2, -0.2])
    torch.testing.assert_close(from_behind(standing, torch.tensor([True]), COCO17.mirror), standing)


def test_random_places_rise_within_the_span_and_every_clip_has_its_own() -> None:
    draws = torch.rand(2, 400, generator=torch.Generator().manual_seed(1))
    places = random_places(torch.tensor([0.0, 0.25]), torch.tensor([1.0, 0.5]), draws)
    assert (places.diff(dim=1) >= 0).all()
    for clip, (start, stop) in zip(places, ((0, 1), (0.25, 0.75)), strict=True):
        assert start <= clip.min() < start + 0.02
        assert stop - 0.02 < clip.max() <= stop
    seen = resample_time(ramp(2, 9), places)[:, 0, :, 0, 0]
    torch.testing.assert_close(seen, places * 8)


def test_one_frame_stays_what_it_is() -> None:
    one = torch.randn(3, 2, 1, 4, 1)
    starts, lengths = torch.zeros(3), torch.full((3,), 0.5)
    torch.testing.assert_close(resample_time(one, even_places(starts, lengths, 1)), one)
    torch.testing.assert_close(resample_time(one, random_places(starts, lengths, torch.rand(3, 1))), one)


@pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_targets_of_mixtures_are_the_shares_of_the_values(mixup: float, cutmix: float) -> None:
    cut = set()
    for seed in range(12):
        mixture = draw_mixture(np.random.default_rng(seed), 6, mixup, cutmix, steps=8)
        assert mixture is not None
        x = torch.arange(6.0).view(6, 1, 1, 1, 1).expand(6, 2, 16, 3, 1)
        features, _ = mixture.people(x, torch.ones(6, 1, dtype=torch.bool))
        targets = mixture.values(one_hot_targets(torch.arange(6), 6))
        # A clip's features are its number everywhere, so that their mean is the expected number under the targets.
        torch.testing.assert_close(features.mean((1, 2, 3, 4)), targets @ torch.arange(6.0))
        cut.add(mixture.cut is not None)
    assert cut == {kind for kind, alpha in ((False, mixup), (True, cutmix)) if alpha > 0}


def test_the_targets_share_of_a_rectangle_is_the_area_that_is_pasted() -> None:
    sizes = set()
    for seed in range(40):
        mixture = draw_mixture(np.random.default_rng(seed), 5, 0.0, 1.0, steps=8, size_px=20)
        assert mixture is not None
        assert mixture.cut is None
        assert mixture.box_px is not None
        frames = torch.arange(5.0).view(5, 1, 1, 1, 1).expand(5, 3, 3, 20, 20)
        mixed, own = mixture.frames(frames), torch.arange(5)
        kept = (mixed == frames).float().mean((1, 2, 3, 4))
        targets = mixture.values(one_hot_targets(own, 5))
        torch.testing.assert_close(targets[own, own], kept)
        torch.testing.assert_close(mixed.mean((1, 2, 3, 4)), targets @ torch.arange(5.0))
        sizes.add(mixture.share)
        again = draw_mixture(np.random.default_rng(seed), 5, 0.0, 1.0, steps=8, size_px=20)
        assert again is not None
        assert (again.box_px, again.share, again.order.tolist()) == (
            mixture.box_px,
            mixture.share,
            mixture.order.tolist(),
        )
    assert len(sizes) > 20


def test_the_rectangle_has_the_area_that_was_drawn_where_it_is_inside_the_frame() -> None:
    whole = [draw_box(np.random.default_rng(seed), 0.75, 100) for seed in range(30)]
    inside = [box for box in whole if min(box) > 0 and max(box) < 100]
    assert inside
    assert {(bottom - top) * (right - left) for top, left, bottom, right in inside} == {2500}
    assert all(0 <= top < bottom <= 100 and 0 <= left < right <= 100 for top, left, bottom, right in whole)


def test_the_rectangle_is_at_the_same_place_in_every_frame_and_channel() -> None:
    frames = torch.rand(2, 3, 3, 6, 6)
    mixed = Mixture(torch.tensor([1, 0]), 1 - 6 / 36, box_px=(1, 2, 4, 4)).frames(frames)
    torch.testing.assert_close(mixed[0, :, :, 1:4, 2:4], frames[1, :, :, 1:4, 2:4])
    assert ((mixed != frames).sum((1, 2, 3, 4)) == 6 * 9).all()


def test_no_mixture_of_one_clip_or_without_an_alpha() -> None:
    draw = np.random.default_rng(0)
    assert draw_mixture(draw, 1, 1.0, 1.0, 4) is None
    assert draw_mixture(draw, 5, 0.0, 0.0, 4) is None


def test_unknown_labels_have_no_target() -> None:
    assert one_hot_targets(torch.tensor([1, -1]), 3).tolist() == [[0, 1, 0], [0, 0, 0]]
