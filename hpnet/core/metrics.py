"""Accuracy of classifiers, detectors and pose networks. Pure functions on arrays; nothing here touches a disk.

Accuracies are fractions in [0, 1]. N clips or images, K classes, V joints, P persons. Boxes are xyxy in frame pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COCO_SIGMAS: tuple[float, ...] = (
    .026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089,
)  # fmt: skip
"""Per-joint standard deviations of COCO's 17 keypoints (Ronchi and Perona 2017), relative to the person's scale."""

OKS_THRESHOLDS: tuple[float, ...] = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
_RECALLS: Floats = np.linspace(0.0, 1.0, 101)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Floats:
    """Quotient of equal shapes; NaN where the denominator is 0."""
    out = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


# --- classification -------------------------------------------------------------------------------------------------


def predictions(scores: ArrayLike) -> Ints:
    """Predicted class per clip: ``scores`` (N, K) -> arg-max (N,), ties to the lowest class; (N,) is taken as it is."""
    array = np.asarray(scores)
    return np.asarray(array.argmax(1) if array.ndim == 2 else array, dtype=np.int64)


def _check_labels(count: int, labels: Ints, num_classes: int | None = None) -> None:
    if labels.shape != (count,):
        raise ValueError(f"{count} predictions but labels have shape {labels.shape}; expected ({count},)")
    if count == 0:
        raise ValueError("no clips: an accuracy over an empty set is undefined")
    if labels.min() < 0:
        raise ValueError(f"label {labels.min()} at row {labels.argmin()}: clips without a label cannot be scored")
    if num_classes is not None and labels.max() >= num_classes:
        raise ValueError(f"label {labels.max()} at row {labels.argmax()}, but there are only {num_classes} classes")


def ranks(scores: ArrayLike, labels: ArrayLike) -> Ints:
    """Rank (0 = best) of the true class among K for each clip: ``scores`` (N, K), ``labels`` (N,) -> (N,).

    Ties go to the lower class index, as in arg-max, so a constant score is not counted as right everywhere.
    """
    scores, labels = np.asarray(scores), np.asarray(labels, dtype=np.int64)
    if scores.ndim != 2:
        raise ValueError(f"scores have shape {scores.shape}; expected (N, K)")
    _check_labels(len(scores), labels, scores.shape[1])
    own = scores[np.arange(len(scores)), labels][:, None]
    before = np.arange(scores.shape[1])[None, :] < labels[:, None]
    return np.asarray(((scores > own) | ((scores == own) & before)).sum(1), dtype=np.int64)


def top_k(scores: ArrayLike, labels: ArrayLike, k: int = 1) -> float:
    """Share of clips whose true class is among the ``k`` best: ``scores`` (N, K), ``labels`` (N,)."""
    if k < 1:
        raise ValueError(f"k = {k}; expected at least 1")
    return float((ranks(scores, labels) < k).mean())


def confusion(scores: ArrayLike, labels: ArrayLike, num_classes: int | None = None) -> Ints:
    """Confusion matrix (K, K): row = true class, column = predicted class, entries = clips.

    ``scores``: predicted classes (N,), or (N, K) scores whose arg-max is taken. ``num_classes``: for (N,).
    """
    array, truth = np.asarray(scores), np.asarray(labels, dtype=np.int64)
    pred = predictions(array)
    if num_classes is None:
        num_classes = array.shape[1] if array.ndim == 2 else int(max(pred.max(initial=-1), truth.max(initial=-1))) + 1
    _check_labels(len(pred), truth, num_classes)
    if pred.min() < 0 or pred.max() >= num_classes:
        raise ValueError(f"predictions lie in {pred.min()}..{pred.max()}; expected 0..{num_classes - 1}")
    cells = np.bincount(truth * num_classes + pred, minlength=num_classes * num_classes)
    return cells.reshape(num_classes, num_classes).astype(np.int64)  # (K * K,) -> (K, K)


def per_class_accuracy(scores: ArrayLike, labels: ArrayLike, num_classes: int | None = None) -> Floats:
    """Accuracy per true class (K,); NaN for a class that no clip has. Arguments as in :func:`confusion`."""
    matrix = confusion(scores, labels, num_classes)
    return _ratio(matrix.diagonal(), matrix.sum(1))


def mean_class_accuracy(scores: ArrayLike, labels: ArrayLike, num_classes: int | None = None) -> float:
    """Mean class accuracy over the classes that occur in ``labels``."""
    return float(np.nanmean(per_class_accuracy(scores, labels, num_classes)))


MEASURES: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "top1": top_k,
    "mean_class_accuracy": mean_class_accuracy,
}
"""Accuracies by which data sets are judged: scores (N, K), labels (N,) -> 0..1."""


def most_confused(matrix: ArrayLike, count: int = 10) -> list[tuple[int, int, int, float]]:
    """The ``count`` largest off-diagonal confusions: (true, predicted, clips, share of the true class's clips).

    Ordered by share, then clips, then class index (Table XVI).
    """
    cells = np.asarray(matrix, dtype=np.int64)
    total = cells.sum(1)
    pairs = [
        (int(t), int(p), int(cells[t, p]), float(cells[t, p] / total[t])) for t, p in np.argwhere(cells > 0) if t != p
    ]
    return sorted(pairs, key=lambda row: (-row[3], -row[2], row[0], row[1]))[:count]


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> tuple[Ints, Floats, Floats]:
    """Data of a reliability diagram over ``bins`` equal bins of the top probability.

    Returns clips, mean confidence and accuracy per bin, (bins,) each; NaN where a bin is empty.

    Raises:
        ValueError: ``probabilities`` (N, K) are not non-negative rows that sum to 1.
    """
    probs, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if probs.ndim != 2 or (probs < 0).any() or not np.allclose(probs.sum(1), 1.0, atol=1e-3):
        raise ValueError("calibration needs probabilities (N, K) whose rows sum to 1; take the softmax of logits first")
    _check_labels(len(probs), truth, probs.shape[1])
    confidence = probs.max(1)
    correct = (predictions(probs) == truth).astype(np.float64)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)

    def mean(values: Floats) -> Floats:
        total = np.bincount(index, weights=values, minlength=bins)
        return _ratio(total, count)

    return count.astype(np.int64), mean(confidence), mean(correct)


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Mean |accuracy - confidence| over bins, weighted by their clips (Guo et al. 2017)."""
    count, confidence, accuracy = reliability(probabilities, labels, bins)
    used = count > 0
    return float((np.abs(accuracy - confidence)[used] * count[used]).sum() / count.sum())


# --- detection ------------------------------------------------------------------------------------------------------


def auroc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive (P,) has a higher score than a negative (N,), ties counting half.

    Raises:
        ValueError: one of the two is empty.
    """
    high, low = np.asarray(positive, dtype=np.float64), np.sort(np.asarray(negative, dtype=np.float64))
    if not len(high) or not len(low):
        raise ValueError(f"{len(high)} positives and {len(low)} negatives; expected one or more of each")
    below, upto = (np.searchsorted(low, high, side) for side in ("left", "right"))
    return float((below + upto).mean() / (2 * len(low)))


def iou(first_xyxy: ArrayLike, second_xyxy: ArrayLike) -> Floats:
    """Intersection over union of boxes (..., 4) with boxes (..., 4), as numpy broadcasts; 0 where either is empty."""
    first, second = np.asarray(first_xyxy, dtype=np.float64), np.asarray(second_xyxy, dtype=np.float64)
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    overlap = np.clip(high - low, 0, None).prod(-1)
    area_first = np.clip(first[..., 2:] - first[..., :2], 0, None).prod(-1)
    area_second = np.clip(second[..., 2:] - second[..., :2], 0, None).prod(-1)
    return np.nan_to_num(_ratio(overlap, area_first + area_second - overlap), nan=0.0)


def iou_matrix(first_xyxy: ArrayLike, second_xyxy: ArrayLike) -> Floats:
    """:func:`iou` of each of (A, 4) boxes with each of (B, 4) -> (A, B)."""
    first = np.asarray(first_xyxy, dtype=np.float64).reshape(-1, 1, 4)
    return iou(first, np.asarray(second_xyxy, dtype=np.float64).reshape(1, -1, 4))


def _interpolated_precision(hits_in_order: NDArray[np.bool_], positives: int) -> float:
    """COCO's 101-point AP of detections in falling order of score, ``positives`` truths."""
    if len(hits_in_order) == 0:
        return 0.0
    found = np.cumsum(hits_in_order)
    recall = found / positives
    precision = found / np.arange(1, len(found) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    index = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.append(envelope, 0.0)[index].mean())


def average_precision(
    boxes_xyxy_px: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    truths_xyxy_px: Sequence[ArrayLike],
    iou: float = 0.5,
) -> float:
    """Detection AP of one class at one IoU: greedy matching by score, 101-point interpolation as in COCO.

    Args:
        boxes_xyxy_px: per image (D, 4); empty where nothing was detected.
        scores: per image (D,).
        truths_xyxy_px: per image (G, 4).
        iou: least overlap of a match.

    Raises:
        ValueError: the lists differ in length, or no image has a true box.
    """
    if not len(boxes_xyxy_px) == len(scores) == len(truths_xyxy_px):
        raise ValueError(
            f"{len(boxes_xyxy_px)} images of boxes, {len(scores)} of scores, {len(truths_xyxy_px)} of truths: unequal"
        )
    hits: list[bool] = []
    confidence: list[float] = []
    positives = 0
    for image, (boxes, score, truth) in enumerate(zip(boxes_xyxy_px, scores, truths_xyxy_px, strict=True)):
        overlap = iou_matrix(boxes, truth)
        values = np.asarray(score, dtype=np.float64).reshape(-1)
        if len(values) != len(overlap):
            raise ValueError(f"image {image}: {len(overlap)} boxes but {len(values)} scores")
        positives += overlap.shape[1]
        free = np.ones(overlap.shape[1], dtype=bool)
        for row in np.argsort(-values, kind="stable"):
            candidates = np.where(free, overlap[row], -1.0)
            best = int(candidates.argmax()) if len(candidates) else -1
            matched = best >= 0 and bool(candidates[best] >= iou)
            if matched:
                free[best] = False
            hits.append(matched)
            confidence.append(float(values[row]))
    if positives == 0:
        raise ValueError("average precision needs at least one true box")
    order = np.argsort(-np.asarray(confidence), kind="stable")
    return _interpolated_precision(np.asarray(hits, dtype=bool)[order], positives)


def count_accuracy(counts: ArrayLike, truth_counts: ArrayLike) -> float:
    """Share of clips (or frames) whose number of people is exactly right; both (N,)."""
    found, truth = np.asarray(counts), np.asarray(truth_counts)
    if found.shape != truth.shape or found.size == 0:
        raise ValueError(f"counts {found.shape} and truth {truth.shape}; expected equal, non-empty shapes")
    return float((found == truth).mean())


# --- pose -----------------------------------------------------------------------------------------------------------


def pck(
    keypoints_px: ArrayLike, truth_px: ArrayLike, visible: ArrayLike, scale_px: ArrayLike, alpha: float = 0.2
) -> float:
    """Percentage of correct keypoints, as a fraction: visible joints within ``alpha`` x scale of the truth.

    Args:
        keypoints_px, truth_px: (..., V, 2).
        visible: (..., V), truthy where the truth counts.
        scale_px: (...), for example the torso's length or the longer side of the box.

    Raises:
        ValueError: shapes differ, or no joint is visible.
    """
    found, truth = np.asarray(keypoints_px, dtype=np.float64), np.asarray(truth_px, dtype=np.float64)
    mask = np.asarray(visible).astype(bool)
    if found.shape != truth.shape or mask.shape != found.shape[:-1]:
        raise ValueError(f"keypoints {found.shape}, truth {truth.shape}, visible {mask.shape} do not fit together")
    if not mask.any():
        raise ValueError("no joint is visible: PCK is undefined")
    limit = alpha * np.broadcast_to(np.asarray(scale_px, dtype=np.float64)[..., None], mask.shape)  # (..., V)
    right = np.linalg.norm(found - truth, axis=-1) <= limit
    return float(right[mask].mean())


def oks(
    keypoints_px: ArrayLike,
    truth_px: ArrayLike,
    visible: ArrayLike,
    area_px2: ArrayLike,
    sigmas: Sequence[float] = COCO_SIGMAS,
) -> Floats:
    """Object keypoint similarity per person (...): COCO's mean over visible joints of exp(-d^2 / (2 area (2 sigma)^2)).

    Args:
        keypoints_px, truth_px: (..., V, 2).
        visible: (..., V).
        area_px2: (...), area of the person in square pixels (COCO's segment; 0.53 x box area is a common stand-in).
        sigmas: V values; COCO's 17 by default.

    Returns NaN for a person without a visible joint.
    """
    found, truth = np.asarray(keypoints_px, dtype=np.float64), np.asarray(truth_px, dtype=np.float64)
    mask = np.asarray(visible).astype(bool)
    if found.shape != truth.shape or mask.shape != found.shape[:-1]:
        raise ValueError(f"keypoints {found.shape}, truth {truth.shape}, visible {mask.shape} do not fit together")
    if found.shape[-2] != len(sigmas):
        raise ValueError(f"keypoints have {found.shape[-2]} joints but there are {len(sigmas)} sigmas")
    area = np.asarray(area_px2, dtype=np.float64)[..., None]  # (..., 1)
    variance = (2.0 * np.asarray(sigmas)) ** 2  # (V,)
    distance2 = ((found - truth) ** 2).sum(-1)  # (..., V)
    similarity = np.exp(-distance2 / (2.0 * variance * (area + np.spacing(1.0))))
    count = mask.sum(-1)
    total = np.asarray((similarity * mask).sum(-1), dtype=np.float64)
    return _ratio(total, count)


def oks_ap(similarity: ArrayLike, scores: ArrayLike | None = None) -> float:
    """Mean AP over OKS thresholds .50:.05:.95 for crops that are already paired with their truth, one to one.

    Args:
        similarity: OKS per person (P,); NaN (no visible joint) is left out, as in COCO.
        scores: confidence per person (P,), which orders the precision-recall curve. Without it no order exists, and
            the mean share of people above the threshold (average recall) is returned.
    """
    values = np.asarray(similarity, dtype=np.float64).reshape(-1)
    known = ~np.isnan(values)
    if not known.any():
        raise ValueError("no person has a visible joint: OKS-AP is undefined")
    if scores is None:
        return float(np.mean([(values[known] >= t).mean() for t in OKS_THRESHOLDS]))
    confidence = np.asarray(scores, dtype=np.float64).reshape(-1)
    if confidence.shape != values.shape:
        raise ValueError(f"{len(values)} similarities but {len(confidence)} scores")
    ordered = values[known][np.argsort(-confidence[known], kind="stable")]
    return float(np.mean([_interpolated_precision(ordered >= t, len(ordered)) for t in OKS_THRESHOLDS]))
