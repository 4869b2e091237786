"""hpnet.core.metrics: hand-worked values, properties and errors."""

from __future__ import annotations

import numpy as np
import pytest

from hpnet.core import metrics


def test_top_k_counts_the_true_class_among_the_best() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
    labels = np.array([0, 0, 2])
    assert metrics.top_k(scores, labels, 1) == pytest.approx(1 / 3)
    assert metrics.top_k(scores, labels, 2) == pytest.approx(2 / 3)
    assert metrics.top_k(scores, labels, 5) == 1.0


def test_constant_scores_are_not_right_everywhere() -> None:
    labels = np.arange(10)
    assert metrics.top_k(np.zeros((10, 10)), labels, 1) == pytest.approx(0.1)
    assert metrics.top_k(np.zeros((10, 10)), labels, 5) == pytest.approx(0.5)


def test_top_1_is_the_arg_max() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 3, (200, 7)), rng.integers(0, 7, 200)
    assert metrics.top_k(scores, labels) == pytest.approx((scores.argmax(1) == labels).mean())


def test_confusion_and_mean_class_accuracy_over_present_classes() -> None:
    pred, labels = [0, 0, 1, 3], [0, 0, 0, 3]
    matrix = metrics.confusion(pred, labels, 4)
    assert matrix.shape == (4, 4)
    assert matrix[0].tolist() == [2, 1, 0, 0]
    assert matrix.sum() == 4
    per_class = metrics.per_class_accuracy(pred, labels, 4)
    assert per_class[[0, 3]] == pytest.approx([2 / 3, 1.0])
    assert np.isnan(per_class[[1, 2]]).all()
    assert metrics.mean_class_accuracy(pred, labels, 4) == pytest.approx(5 / 6)
    assert metrics.mean_class_accuracy(np.eye(4)[pred], labels) == pytest.approx(5 / 6)


def test_most_confused_orders_by_share_of_the_true_class() -> None:
    matrix = [[8, 2, 0], [0, 1, 1], [0, 0, 5]]
    assert metrics.most_confused(matrix) == [(1, 2, 1, 0.5), (0, 1, 2, 0.2)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, -1], "without a label"), ([0, 3], "only 3 classes"), ([0], "expected"), ([], "expected")],
)
def test_wrong_labels_are_refused(labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.top_k(np.zeros((2, 3)), np.array(labels, dtype=int))


def test_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="no clips"):
        metrics.mean_class_accuracy(np.zeros((0, 3)), np.zeros(0, dtype=int))


def test_calibration_error_of_a_worked_case() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    labels = [0, 1, 1, 1]  # bin .9: accuracy .5; bin .6: accuracy 1
    assert metrics.expected_calibration_error(probabilities, labels, bins=10) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    count, confidence, accuracy = metrics.reliability(probabilities, labels, bins=10)
    assert count.sum() == 4
    assert confidence[8] == pytest.approx(0.9)
    assert accuracy[5] == pytest.approx(1.0)
    assert np.isnan(accuracy[0])


def test_calibration_refuses_logits() -> None:
    with pytest.raises(ValueError, match="softmax"):
        metrics.expected_calibration_error([[2.0, -1.0]], [0])


def test_iou_row_by_row() -> None:
    boxes = np.tile(np.array([[0, 0, 10, 10]], np.float32), (4, 1))
    assert metrics.iou(boxes, boxes + 20).tolist() == [0] * 4
    assert metrics.iou(boxes, boxes + [5, 0, 5, 0]) == pytest.approx([1 / 3] * 4)


def test_iou_matrix() -> None:
    first = [[0, 0, 2, 2], [5, 5, 5, 5]]
    second = [[1, 1, 3, 3], [0, 0, 2, 2], [9, 9, 10, 10]]
    assert metrics.iou_matrix(first, second) == pytest.approx(np.array([[1 / 7, 1, 0], [0, 0, 0]]))
    assert metrics.iou_matrix(np.zeros((0, 4)), second).shape == (0, 3)


def test_average_precision_perfect_missing_and_extra() -> None:
    box, other, none = [[0, 0, 10, 10]], [[20, 20, 30, 30]], np.zeros((0, 4))
    assert metrics.average_precision([box, other], [[0.9], [0.8]], [box, other]) == pytest.approx(1.0)
    # one of two people found: precision 1 up to recall 0.5, that is 51 of 101 points
    assert metrics.average_precision([box, none], [[0.9], []], [box, other]) == pytest.approx(51 / 101)
    # a false alarm that scores above the hit halves precision; one that scores below changes nothing
    assert metrics.average_precision([box + other], [[0.5, 0.9]], [box]) == pytest.approx(0.5)
    assert metrics.average_precision([box + other], [[0.9, 0.5]], [box]) == pytest.approx(1.0)
    assert metrics.average_precision([none], [[]], [box]) == 0.0


def test_a_truth_is_matched_once() -> None:
    box = [0, 0, 10, 10]
    assert metrics.average_precision([[box, box]], [[0.9, 0.8]], [[box, [50, 50, 60, 60]]]) == pytest.approx(51 / 101)


def test_average_precision_depends_on_the_overlap_asked_for() -> None:
    found, truth = [[0, 0, 10, 10]], [[0, 0, 10, 8]]  # IoU 0.8
    assert metrics.average_precision([found], [[1.0]], [truth], iou=0.75) == pytest.approx(1.0)
    assert metrics.average_precision([found], [[1.0]], [truth], iou=0.85) == 0.0


def test_average_precision_errors() -> None:
    with pytest.raises(ValueError, match="at least one true box"):
        metrics.average_precision([np.zeros((0, 4))], [[]], [np.zeros((0, 4))])
    with pytest.raises(ValueError, match="image 0: 1 boxes but 2 scores"):
        metrics.average_precision([[[0, 0, 1, 1]]], [[0.1, 0.2]], [[[0, 0, 1, 1]]])
    with pytest.raises(ValueError, match="unequal"):
        metrics.average_precision([], [[]], [])


def test_count_accuracy() -> None:
    assert metrics.count_accuracy([1, 2, 0, 5], [1, 2, 1, 5]) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="non-empty"):
        metrics.count_accuracy([], [])


def test_pck_uses_scale_and_visibility() -> None:
    truth = np.zeros((2, 3, 2))
    found = truth.copy()
    found[0, 0] = [2.0, 0.0]  # on the limit of person 0
    found[1, 0] = [2.1, 0.0]  # beyond it, but person 1 is twice as large
    found[1, 2] = [99.0, 0.0]
    visible = np.ones((2, 3), dtype=bool)
    assert metrics.pck(found, truth, visible, np.array([10.0, 20.0])) == pytest.approx(5 / 6)
    visible[1, 2] = False
    assert metrics.pck(found, truth, visible, np.array([10.0, 20.0])) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no joint is visible"):
        metrics.pck(found, truth, ~np.ones((2, 3), dtype=bool), np.array([1.0, 1.0]))


def test_oks_follows_its_formula() -> None:
    truth = np.zeros((1, 17, 2))
    found = truth.copy()
    found[0, 5] = [3.0, 4.0]
    area = 400.0
    sigma = metrics.COCO_SIGMAS[5]
    wrong = np.exp(-25.0 / (2 * area * (2 * sigma) ** 2))
    visible = np.ones((1, 17))
    assert metrics.oks(found, truth, visible, [area]) == pytest.approx([(16 + wrong) / 17])
    visible[0, 5] = 0
    assert metrics.oks(found, truth, visible, [area]) == pytest.approx([1.0])
    assert np.isnan(metrics.oks(found, truth, np.zeros((1, 17)), [area])).all()
    with pytest.raises(ValueError, match="21 joints but there are 17 sigmas"):
        metrics.oks(np.zeros((1, 21, 2)), np.zeros((1, 21, 2)), np.ones((1, 21)), [area])


def test_oks_ap() -> None:
    assert metrics.oks_ap([1.0, 1.0, np.nan], [0.1, 0.2, 0.9]) == pytest.approx(1.0)
    # 0.72 passes .50 to .70: five of ten thresholds
    assert metrics.oks_ap([0.72], [1.0]) == pytest.approx(0.5)
    assert metrics.oks_ap([1.0, 0.0], [0.9, 0.1]) == pytest.approx(51 / 101)
    assert metrics.oks_ap([1.0, 0.0], [0.1, 0.9]) < metrics.oks_ap([1.0, 0.0], [0.9, 0.1])
    assert metrics.oks_ap([1.0, 0.0]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="undefined"):
        metrics.oks_ap([np.nan])
