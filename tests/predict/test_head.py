"""The discriminant of taught actions: exact against its definition, its threshold keeps what was promised."""

from __future__ import annotations

import numpy as np
import pytest

from hpnet.predict.head import (
    STRENGTH,
    Embeddings,
    Head,
    Indices,
    Known,
    Products,
    fit_head,
    margins,
    temperature,
    threshold,
)


def clusters(
    actions: int, each: int, size: int = 30, seed: int = 0, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Clips about the means of their actions, and labels."""
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(actions), each)
    means = np.random.default_rng(7).normal(size=(actions, size)) * 2
    return (means[labels] + spread * draw.normal(size=(len(labels), size))).astype(np.float32), labels


def split(values: np.ndarray) -> Embeddings:
    """Two streams."""
    return {"hpj": values[:, :10], "hpb": 3 * values[:, 10:] + 5}


@pytest.mark.parametrize("size", [6, 60])
def test_it_is_the_shrunk_discriminant(size: int) -> None:
    values, labels = clusters(4, 6, size)
    everything = np.arange(len(labels))
    products = Products.of({"hpj": values}, everything)
    found = products.logits(everything, labels, 4, everything)
    z = (values - values.mean(0)).astype(np.float64) * products.scales["hpj"]
    means = np.stack([z[labels == label].mean(0) for label in range(4)])
    within = z - means[labels]
    added = np.trace(within.T @ within) / len(z) / min(z.shape) / STRENGTH
    covariance = within.T @ within / len(z) + added * np.eye(size)
    weights = np.linalg.solve(covariance, means.T).T
    np.testing.assert_allclose(found, z @ weights.T - (weights * means).sum(1) / 2, rtol=1e-5, atol=1e-5)


def known_and_taught(actions: int = 5, new: int = 1, spread: float = 1.0) -> tuple[Known, Embeddings, Indices]:
    values, labels = clusters(actions + new, 20, spread=spread)
    old = labels < actions
    rows = np.flatnonzero(~old).reshape(new, -1)[:, :5].ravel()
    folds = np.arange(old.sum()) % 4
    return Known(split(values[old]), labels[old], folds), split(values[rows]), labels[rows] - actions


@pytest.mark.parametrize("new", [1, 2])
def test_taught_actions_are_recognised_and_trained_ones_stay(new: int) -> None:
    known, taught, labels = known_and_taught(new=new)
    head, checks = fit_head(known, taught, labels, 5, 0.01)
    fresh, truth = clusters(5 + new, 30, seed=1)
    trained = np.full((len(truth), 5), 0.01)
    trained[np.arange(len(truth)), np.minimum(truth, 4)] = 0.96
    found = head.answered(trained, split(fresh))
    np.testing.assert_allclose(found.sum(1), 1)
    assert (found.argmax(1) == truth).mean() > 0.98
    kept = found[truth < 5][:, :5]
    np.testing.assert_allclose(kept / kept.sum(1, keepdims=True), trained[truth < 5], rtol=1e-6)
    assert all(check.left_out == 5 and check.recognised >= 4 and check.taken <= 0.01 for check in checks)


def test_an_action_that_is_none_is_not_recognised_at_the_cost_of_others() -> None:
    known, _, _ = known_and_taught(spread=3.0)
    again, truth = clusters(5, 5, seed=3, spread=3.0)
    same = split(again[truth == 2])  # clips of a trained action under a new name
    _, (check,) = fit_head(known, same, np.zeros(5, np.int64), 5, 0.01)
    assert check.taken <= 0.01
    assert check.recognised <= 1
    assert check.nearest == 2


def test_one_clip_is_taught_without_a_check_of_its_own() -> None:
    known, taught, _ = known_and_taught()
    alone = {stream: values[:1] for stream, values in taught.items()}
    head, (check,) = fit_head(known, alone, np.zeros(1, np.int64), 5, 0.01)
    assert (check.recognised, check.left_out) == (0, 0)
    fresh, truth = clusters(6, 30, seed=1)
    found = head.margins(split(fresh))[:, 0] > head.thresholds[0]
    assert found[truth == 5].mean() > 0.5
    assert found[truth < 5].mean() < 0.1


def test_an_action_without_a_clip_is_never_the_best() -> None:
    known, taught, labels = known_and_taught()
    head, _ = fit_head(known, taught, labels, 9, 0.01)
    assert np.isneginf(head.biases[5:9]).all()
    assert np.isfinite(head.margins(taught)).all()


def test_the_threshold_lets_so_many_through() -> None:
    others = np.arange(100.0)
    assert [(others > threshold(others, np.zeros(0), most)).sum() for most in (0, 1, 5)] == [0, 1, 5]
    assert threshold(others, np.array([120.0, 300.0]), 0) == pytest.approx((99 + 120) / 2)
    assert threshold(others, np.array([20.0]), 1) == 98


def test_probabilities_follow_the_margin() -> None:
    head = Head({"hpj": np.array([[0.0], [1.0]], np.float32)}, np.zeros(2), np.array([1.0]), np.array([0.5]))
    found = head.answered(np.array([[0.5, 0.3, 0.2]] * 3), {"hpj": np.array([[0.9], [1.0], [1.1]], np.float32)})
    assert found.shape == (3, 4)
    assert found[0, 3] < found[0, 0]
    assert found[1, 3] == pytest.approx(found[1, 0])
    assert found[2, 3] > found[2, 0]
    np.testing.assert_array_equal(margins(np.array([[1.0, 3.0, 2.0]]), 1), [[-1.0]])
    assert temperature(np.array([-3.0, -2.0]), np.array([2.0, 3.0])) < temperature(
        np.array([-3.0, 2.0]), np.array([-2.0, 3.0])
    )
