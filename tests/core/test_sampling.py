"""Frames that stand for a clip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpnet.core.sampling import sample_frames, uniform_indices


@given(frames=st.integers(1, 400), count=st.integers(0, 50))
def test_uniform_indices(frames: int, count: int) -> None:
    indices = uniform_indices(frames, count)
    assert len(indices) == (frames if count == 0 else min(count, frames))
    assert indices.min() >= 0
    assert indices.max() < frames
    assert (np.diff(indices) > 0).all()


def test_uniform_indices_are_middles_of_segments() -> None:
    assert uniform_indices(24, 8).tolist() == [1, 4, 7, 10, 13, 16, 19, 22]
    assert uniform_indices(1, 8).tolist() == [0]


def test_sample_frames() -> None:
    assert sample_frames(24, 4).tolist() == [3, 9, 15, 21]
    assert sample_frames(8, 8).tolist() == list(range(8))
    assert sample_frames(1, 3).tolist() == [0, 0, 0]
    assert sample_frames(3, 6).tolist() == [0, 0, 1, 1, 2, 2]
    draw = np.random.default_rng(0)
    for _ in range(50):
        chosen = sample_frames(24, 4, draw)
        assert ((chosen >= [0, 6, 12, 18]) & (chosen <= [5, 11, 17, 23])).all()
    with pytest.raises(ValueError, match="cannot take 4 of 0"):
        sample_frames(0, 4)


@pytest.mark.parametrize("frames", [5, 16, 70, 71, 300])
def test_the_middle_candidate_is_the_middle_of_its_segment(frames: int) -> None:
    kept = uniform_indices(frames, 8 * 3)
    middle = kept[sample_frames(len(kept), 8)]
    assert set(middle.tolist()) == set(uniform_indices(frames, 8).tolist())
