"""Linear classifiers of a few components."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from hpnet.train.classifiers import CLASSIFIERS, about_class, best_temperature, cross_entropy, discriminant


def drawn() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 2], 200)
    return draw.normal(size=(400, 2)) * [1, 3] + np.where(labels[:, None] == 0, [0, 0], [1, 3]), labels


def test_a_discriminant_that_is_hardly_shrunk_is_the_textbooks() -> None:
    scores, labels = drawn()
    weights, biases = discriminant(scores, labels, 3, 1e9)
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(scores, labels)
    logits = scores @ weights.T + biases
    np.testing.assert_allclose(logits[:, 2] - logits[:, 0], expected.decision_function(scores), atol=1e-6)
    shrunk, _ = discriminant(scores, labels, 3, 0.1)
    assert np.abs(shrunk).max() < np.abs(weights).max()


@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_a_class_without_a_clip_is_never_first(name: str) -> None:
    scores, labels = drawn()
    weights, biases = CLASSIFIERS[name].fit(scores, labels, 3, 1.0)
    logits = scores @ weights.T + biases
    assert set(logits.argmax(1)) == {0, 2}
    assert (logits.argmax(1) == labels).mean() > 0.7


@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_without_a_component_the_frequent_class_is_first(name: str) -> None:
    """Where every class has a single clip, nothing varies within classes, and no component is left."""
    weights, biases = CLASSIFIERS[name].fit(np.zeros((3, 0)), np.array([0, 2, 2]), 3, 10.0)
    assert weights.shape == (3, 0)
    assert biases.argmax() == 2
    assert biases.argmin() == 1


def test_deviations_from_the_mean_of_a_class() -> None:
    values = np.array([[1.0], [3], [10], [20]])
    assert about_class(values, np.array([0, 0, 1, 1])).tolist() == [[-1], [1], [-5], [5]]
    assert values[0, 0] == 1


def test_the_temperature_makes_logits_as_sure_as_they_are_right() -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(4000, 3))
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([draw.choice(3, p=row) for row in odds])
    assert best_temperature(logits * 5, labels) == pytest.approx(5, rel=0.1)
    assert cross_entropy(np.zeros((2, 4)), np.array([0, 1])) == pytest.approx(np.log(4))
