"""Calibration, t-SNE and Fisher scores of the report."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hpnet.report import figures
from hpnet.report.sections import embedding


def clusters(spread: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 15)
    return np.eye(3)[labels] * 10 + spread * rng.normal(size=(45, 3)), labels


def test_like_neighbours_are_counted_on_what_is_given() -> None:
    features, labels = clusters(0.1)
    assert embedding.neighbour_share(features, labels, 5) == 1.0
    assert embedding.neighbour_share(np.random.default_rng(1).normal(size=(45, 3)), labels, 5) < 0.6
    assert np.isfinite(embedding.standardised(np.ones((4, 2)))).all()


@pytest.mark.parametrize(
    ("clips_of_each", "actions", "each"),
    [([18] * 18, 18, 16), ([200, 3, 40], 3, None), ([100] * 120, 25, 12), ([2] * 120, 25, 2)],
)
def test_the_figure_shows_enough_clips_of_each_action(clips_of_each: list[int], actions: int, each: int | None) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(clips_of_each)), clips_of_each))
    rows = embedding.even_sample(labels)
    assert len(set(rows.tolist())) == len(rows) <= embedding.MOST_CLIPS
    assert (np.diff(rows) > 0).all()
    shown, counts = np.unique(labels[rows], return_counts=True)
    assert len(shown) == actions
    assert counts.tolist() == ([100, 3, 40] if each is None else [each] * actions)


def test_an_embedding_is_the_same_twice_and_keeps_groups_together() -> None:
    features, labels = clusters(1.0)
    once = embedding.embed(features)
    assert once.shape == (45, 2)
    np.testing.assert_array_equal(once, embedding.embed(features))
    assert embedding.neighbour_share(once, labels, 5) > 0.95


def test_a_calibrated_bin_lies_on_the_diagonal() -> None:
    svg = figures.reliability_plot([(0.5, 0.5, 10), (0.9, 0.4, 40)], "t", width=300, height=300)
    dots = [tuple(map(float, found)) for found in re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', svg)]
    line = re.search(r'x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" class="chance"', svg)
    assert line is not None
    x1, y1, x2, y2 = (float(part) for part in line.groups())
    on = [(x - x1) / (x2 - x1) - (y - y1) / (y2 - y1) for x, y, _ in dots]
    assert on[0] == pytest.approx(0, abs=0.01)
    assert on[1] == pytest.approx(0.5, abs=0.01)
    assert dots[1][2] > dots[0][2]


def test_a_scatter_writes_every_point_once_inside_and_escapes_names() -> None:
    points = np.array([[0.0, 5.0], [1.0, 7.0], [3.0, 5.5]])
    svg = figures.scatter_plot(points, np.array([0, 1, 1]), ["<a>", "b"], "t", side=200)
    places = [(float(x), float(y)) for x, y in re.findall(r'<text x="([\d.]+)" y="([\d.]+)"', svg)]
    assert len(places) == 3
    assert all(0 <= value <= 200 for place in places for value in place)
    assert "<a>" not in svg
    assert "&lt;a&gt;" in svg
