"""Interpolation and ranking of tracks."""

from __future__ import annotations

import numpy as np
import pytest

from hpnet.detect.tracking import (
    MIN_PRESENCE,
    Track,
    interpolate,
    motion,
    presence,
    prominence,
    rank_tracks,
    size,
)


def make_track(frames: list[int], boxes: list[list[float]], score: float = 0.9) -> Track:
    return Track(np.array(frames), np.array(boxes, np.float32), np.full(len(frames), score, np.float32))


def still(count: int, box: list[float], start: int = 0) -> Track:
    return make_track(list(range(start, start + count)), [box] * count)


def test_interpolation_is_linear_and_keeps_what_was_seen() -> None:
    sparse = Track(
        np.array([2, 4, 8]),
        np.array([[0, 0, 10, 20], [4, 2, 14, 22], [8, 0, 30, 20.5]], np.float32),
        np.array([0.2, 0.4, 0.8], np.float32),
    )
    dense = interpolate(sparse)
    np.testing.assert_array_equal(dense.frames, [2, 3, 4, 5, 6, 7, 8])
    np.testing.assert_array_equal(dense.boxes_xyxy_px[[0, 2, 6]], sparse.boxes_xyxy_px)
    np.testing.assert_allclose(dense.boxes_xyxy_px[1], [2, 1, 12, 21])
    np.testing.assert_allclose(dense.boxes_xyxy_px[4], [6, 1, 22, 21.25])
    np.testing.assert_allclose(dense.scores, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], rtol=1e-6)
    assert dense.boxes_xyxy_px.dtype == dense.scores.dtype == np.float32


def test_interpolation_of_one_frame_is_itself() -> None:
    one = make_track([5], [[1, 2, 3, 4]])
    np.testing.assert_array_equal(interpolate(one).boxes_xyxy_px, one.boxes_xyxy_px)


def test_each_factor_of_prominence() -> None:
    box = [0.0, 0.0, 50.0, 100.0]
    assert presence(still(5, box), 20) == 0.25
    assert size(still(5, box), (100, 200)) == pytest.approx(0.5)
    assert motion(still(5, box), 10) == 0
    assert motion(make_track([3], [box]), 10) == 0
    # The top side rises 10 px a frame at 10 frames/s: a quarter of 100 px/s over a diagonal of 100 px (60 x 80).
    rising = make_track([0, 1], [[0, 10, 60, 80], [0, 0, 60, 80]])
    assert motion(rising, 10) == pytest.approx(0.25)
    # A gap of two frames halves the speed.
    assert motion(make_track([0, 2], [[0, 10, 60, 80], [0, 0, 60, 80]]), 10) == pytest.approx(0.125)


def test_rank_prefers_present_then_large_then_moving() -> None:
    whole, brief = still(20, [0, 0, 40, 80]), still(8, [100, 0, 140, 80])
    small = still(20, [200, 0, 220, 40])
    moving = make_track(list(range(20)), [[300 + 4 * i, 0, 340 + 4 * i, 80] for i in range(20)])
    ranked = rank_tracks([small, brief, whole, moving], 20, (640, 480), 10)
    assert [id(t) for t in ranked[:2]] == [id(moving), id(whole)]
    assert {id(t) for t in ranked[2:]} == {id(small), id(brief)}


def test_jitter_cannot_outrank_a_person_twice_as_large() -> None:
    rng = np.random.default_rng(0)
    near = still(30, [0, 0, 100, 200])
    base = np.array([300, 0, 340, 80], np.float32)
    far = Track(np.arange(30), base + rng.normal(0, 20, (30, 4)).astype(np.float32), np.ones(30, np.float32))
    assert rank_tracks([far, near], 30, (640, 480), 30)[0] is near
    assert prominence(far, 30, (640, 480), 30) <= 2 * size(far, (640, 480))


def test_rank_leaves_out_blips_but_never_everybody() -> None:
    person, blip = still(20, [0, 0, 40, 80]), still(3, [100, 0, 400, 400])
    assert MIN_PRESENCE > 3 / 20
    assert rank_tracks([blip, person], 20, (640, 480), 10) == [person]
    assert rank_tracks([blip], 20, (640, 480), 10) == [blip]
    assert rank_tracks([], 20, (640, 480), 10) == []


def test_rank_does_not_depend_on_the_order_of_tracks() -> None:
    tracks = [still(10, [x, 0, x + 40, 80]) for x in (0, 100, 200)]
    first = rank_tracks(tracks, 10, (640, 480), 10)
    second = rank_tracks(tracks[::-1], 10, (640, 480), 10)
    assert [id(t) for t in first] == [id(t) for t in second] == [id(t) for t in tracks]


def test_broken_tracks_are_refused() -> None:
    with pytest.raises(ValueError, match="frames must rise"):
        make_track([3, 3], [[0, 0, 1, 1]] * 2)
    with pytest.raises(ValueError, match=r"expected \(n,\)"):
        Track(np.array([0]), np.zeros((2, 4), np.float32), np.zeros(1, np.float32))
