"""Frames that stand for a clip."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hpnet.core.sampling import uniform_indices


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
