"""How sure a network is in a run."""

import pytest

from hpnet.core.suitability import score_figures


def test_the_median_clip_counts_and_not_the_most_boxes() -> None:
    assert score_figures([0.9, 0.2, 0.4]) == {"median_score": 0.4}
    assert score_figures([0.3, 0.5], 0.8) == pytest.approx(
        {"median_score": 0.4, "expected_score": 0.8, "score_ratio": 0.5}
    )


def test_without_clips_nothing_is_said() -> None:
    assert score_figures([], 0.8) == {}
