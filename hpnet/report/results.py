"""The numbers of the report: accuracies with intervals, comparisons, failures. Nothing is drawn here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.clips import Clips
from ..artifacts.features import Features
from ..artifacts.scores import Scores
from ..core.statistics import Interval, benjamini_hochberg, bootstrap_interval, paired_difference
from ..core.units import UNKNOWN, Units, independent_units
from .analysis import fisher_score, pair_choice, pair_membership
from .collect import Collected, Run, people_per_clip
from .params import ReportParams
from .tables import Measured

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

POSES = ("pose2d", "xy")
"""The kinds of features that are joints alone: the baseline of every comparison."""
POOLED = ("pooled", "both")
"""The kinds with pooled features: alone, and with the 2-D pose beside them."""
SIGNIFICANCE = 0.05
"""Of q-values."""


def evaluated(scores: Scores | None) -> Scores | None:
    """The labelled test clips of a stream; None if there are none."""
    if scores is None:
        return None
    test = scores.split("test")
    keep = test.labels >= 0
    if not keep.any():
        return None
    return test.where(keep)


def common(many: Sequence[Scores]) -> list[Scores]:
    """Scores on the clips that all streams have, joined by clip_id, in the order of the first.

    Raises:
        ValueError: two of them disagree on a clip's label.
    """
    shared = set(many[0].clip_ids).intersection(*(s.clip_ids for s in many[1:]))
    order = [clip_id for clip_id in many[0].clip_ids if clip_id in shared]
    joined = []
    for scores in many:
        row_of = {clip_id: row for row, clip_id in enumerate(scores.clip_ids)}
        rows = np.array([row_of[clip_id] for clip_id in order], dtype=np.int64)
        joined.append(
            Scores(tuple(order), tuple(scores.splits[r] for r in rows), scores.labels[rows], scores.logits[rows])
        )
    for scores in joined[1:]:
        if (scores.labels != joined[0].labels).any():
            clip_id = order[int(np.flatnonzero(scores.labels != joined[0].labels)[0])]
            raise ValueError(f"clip {clip_id!r} has different labels in two score files: run the stages again")
    return joined


def correct(scores: Scores) -> Bools:
    """Whether each clip's best class is its label (N,)."""
    return np.asarray(scores.logits.argmax(1) == scores.labels, dtype=bool)


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows of probabilities (N, K)."""
    values = np.asarray(logits, dtype=np.float64)
    powers = np.exp(values - values.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True)
class Paired:
    """Two classifiers on the same clips.

    Attributes:
        difference: second minus first.
        won, lost: clips that only the second, or only the first, gets right.
        p_value: sign-flip permutation test over the units.
        q_value: the same, corrected for all comparisons of the table that it stands in.
    """

    difference: Measured
    won: int
    lost: int
    p_value: float
    q_value: float = math.nan

    @property
    def doubt(self) -> str:
        """', not significant' where the corrected test says so, else nothing."""
        return "" if self.q_value < SIGNIFICANCE else ", not significant"


def corrected(compared: Sequence[Paired]) -> list[Paired]:
    """The same comparisons with q-values: Benjamini-Hochberg over all of them."""
    q_values = benjamini_hochberg([one.p_value for one in compared])
    return [replace(one, q_value=float(q)) for one, q in zip(compared, q_values, strict=True)]


class Judge:
    """Accuracies with 95 % bootstrap intervals that resample the independent unit; seeded by report.seed.

    Attributes:
        units: what is resampled, chosen on the labelled test clips.
    """

    def __init__(self, params: ReportParams, clips: Clips | None) -> None:
        self.resamples, self.seed = params.bootstrap, params.seed
        self.units: Units = UNKNOWN if clips is None else independent_units(clips.usable())

    def accuracy(self, right: Bools, clip_ids: Sequence[str]) -> Measured:
        """Share of right clips."""
        groups = self.units.numbers(clip_ids)
        return self._measured(bootstrap_interval(right, None, groups, self.resamples, self.seed), len(right))

    def class_mean(self, right: Bools, labels: Ints, clip_ids: Sequence[str]) -> Measured:
        """Mean of the per-class accuracies."""
        groups = self.units.numbers(clip_ids)
        return self._measured(bootstrap_interval(right, labels, groups, self.resamples, self.seed), len(labels))

    def paired(self, before: Bools, after: Bools, clip_ids: Sequence[str]) -> Paired:
        """``after`` minus ``before`` on the same clips."""
        groups = self.units.numbers(clip_ids)
        found = paired_difference(before, after, None, groups, self.resamples, self.seed)
        return Paired(self._measured(found.difference, len(before)), found.won, found.lost, found.p_value)

    def _measured(self, interval: Interval, n: int) -> Measured:
        return Measured(interval.value, interval.low, interval.high, n, self.units.counted(interval.units))


@dataclass(frozen=True)
class Group:
    """A set of test clips for a comparison. ``two_way``: pairs of labels, if each clip has one partner class."""

    key: str
    title: str
    text: str
    members: Bools
    pairs: tuple[tuple[int, int], ...] = ()


KINDS_OF_PAIRS = {
    "object": ("Object pairs", "same motion, different object"),
    "order": ("Order pairs", "same poses in the opposite order"),
}
"""The kinds of look-alike pairs that the built-in benchmark has -> title and text; others are named as they are."""


def clip_groups(labels: NDArray[np.int64], clips: Clips) -> list[Group]:
    """All clips, and a group of clips for each kind of look-alike pairs in the class table."""
    groups = [Group("overall", "All clips", f"{clips.num_classes} classes", np.ones(len(labels), dtype=bool))]
    for kind, found in clips.pairs().items():
        title, text = KINDS_OF_PAIRS.get(kind, (f"{kind.capitalize()} pairs", "look-alike actions"))
        pairs = tuple(found)
        members = pair_membership(labels, pairs)
        if members.any():
            groups.append(Group(f"{kind}_pairs", title, text, members, pairs))
    return groups


@dataclass(frozen=True)
class Variant:
    """The joint stream on one kind of features and one group of clips; ``against`` the 2-D pose on the same clips."""

    name: str
    features: FeatureKind
    accuracy: Measured
    two_way: Measured | None
    against: Paired | None


@dataclass(frozen=True)
class FeatureKind:
    """The input features of a run's network. Two runs with equal kinds are the same experiment."""

    kind: str
    tap: str = ""
    region: int = 0
    operator: str = ""

    def title(self, usual_tap: str) -> str:
        """'2-D pose', 'Pooled 3 × 3'; with the operator unless it is the mean, and the tap unless it is usual."""
        if self.kind not in POOLED:
            return {"pose2d": "2-D pose", "xy": "2-D pose, x and y", "simcc": "SimCC vectors"}.get(self.kind, self.kind)
        words = [f"Pooled {self.region} × {self.region}{' and 2-D pose' if self.kind == 'both' else ''}"]
        words += [self.operator] if self.operator != "mean" else []
        words += [self.tap] if self.tap != usual_tap else []
        return ", ".join(words)


def feature_kind(collected: Collected, run: Run) -> FeatureKind:
    """The features of a run, from its config.json; from params.yaml if they are not recorded there."""
    recorded = run.config.get("features")
    if isinstance(recorded, Mapping):
        raw: Mapping[str, Any] = recorded
    else:
        params = collected.params
        raw = (params.variant(run.name) if run.name in params.compare.variants else params.pool).model_dump()
    if raw["kind"] not in POOLED:
        return FeatureKind(str(raw["kind"]))
    return FeatureKind(str(raw["kind"]), str(raw["tap"]), int(raw["region"]), str(raw["operator"]))


def feature_runs(collected: Collected) -> dict[str, Run]:
    """The joint stream on every kind of features that has test scores, 2-D pose first; one run per kind.

    If a variant has the features of the project's own joint stream, the own stream (``hpj``) is used for both.
    """
    own = collected.runs.get("hpj")
    runs = [*([own] if own is not None else []), *collected.variants.values()]
    found: dict[FeatureKind, Run] = {}
    for run in runs:
        if evaluated(run.scores) is not None:
            found.setdefault(feature_kind(collected, run), run)
    ordered = sorted(found, key=lambda kind: (kind.kind not in POSES, kind.kind, kind.tap, kind.operator, kind.region))
    return {found[kind].name: found[kind] for kind in ordered}


def baseline_name(collected: Collected, runs: Mapping[str, Run]) -> str | None:
    """The run on the 2-D pose."""
    return next((name for name, run in runs.items() if feature_kind(collected, run).kind in POSES), None)


def pooled_name(collected: Collected, runs: Mapping[str, Run]) -> str | None:
    """The run compared with the 2-D pose: the project's own stream, or else the first on pooled features."""
    pooled = [name for name, run in runs.items() if feature_kind(collected, run).kind in POOLED]
    return "hpj" if "hpj" in pooled else next(iter(pooled), None)


def pooled_words(collected: Collected, runs: Mapping[str, Run]) -> str:
    """What the run of :func:`pooled_name` sees, in a sentence."""
    name = pooled_name(collected, runs)
    both = name is not None and feature_kind(collected, runs[name]).kind == "both"
    return "pooled features with the 2-D pose" if both else "pooled features"


def compare_variants(collected: Collected, judge: Judge) -> dict[str, tuple[Group, list[Variant]]]:
    """Every kind of features on every group of clips that all of them scored; empty with fewer than two kinds."""
    runs = feature_runs(collected)
    if len(runs) < 2 or collected.clips is None:
        return {}
    names = list(runs)
    joined = common([score for run in runs.values() if (score := evaluated(run.scores)) is not None])
    if not joined[0].clip_ids:
        return {}
    scores = dict(zip(names, joined, strict=True))
    baseline = baseline_name(collected, runs)
    groups = clip_groups(joined[0].labels, collected.clips)
    parts = [{name: s.where(group.members) for name, s in scores.items()} for group in groups]
    others = [name for name in names if baseline is not None and name != baseline]
    pairs = [(at, name) for at in range(len(groups)) for name in others]
    tests = [
        judge.paired(correct(parts[at][str(baseline)]), correct(parts[at][name]), parts[at][name].clip_ids)
        for at, name in pairs
    ]
    against = dict(zip(pairs, corrected(tests), strict=True))
    result = {}
    for at, group in enumerate(groups):
        rows = []
        for name, own in parts[at].items():
            two_way = None
            if group.pairs:
                two_way = judge.accuracy(pair_choice(own.logits, own.labels, group.pairs), own.clip_ids)
            kind, accuracy = feature_kind(collected, runs[name]), judge.accuracy(correct(own), own.clip_ids)
            rows.append(Variant(name, kind, accuracy, two_way, against.get((at, name))))
        result[group.key] = (group, rows)
    return result


def joint_fisher(features: Features, clips: Clips) -> NDArray[np.float64] | None:
    """Fisher score of each joint (V,) of person 0's features, averaged over time, on the training clips.

    None where fewer than two classes have such a clip.
    """
    found = training_means(features, clips)
    return None if found is None else fisher_score(*found, keep=1)


def total_fisher(features: Features, clips: Clips) -> float | None:
    """One Fisher score over all joints and channels, as Fig. 7 compares between scales."""
    found = training_means(features, clips)
    return None if found is None else float(fisher_score(*found))


def training_means(features: Features, clips: Clips) -> tuple[NDArray[np.float32], Ints] | None:
    """Features of person 0 averaged over time (N, V, C) and labels (N,) of the training clips; None with one class."""
    label_of = dict(zip(clips.table.clip_id, clips.table.label, strict=True))
    split_of = dict(zip(clips.table.clip_id, clips.table.split, strict=True))
    index = features.index[(features.index.person == 0) & features.index.valid.astype(bool)]
    index = index[[split_of.get(c) == "train" and label_of.get(c, -1) >= 0 for c in index.clip_id]]
    labels = np.array([label_of[c] for c in index.clip_id], dtype=np.int64)
    if len(np.unique(labels)) < 2:
        return None
    means = np.stack([features.array[int(row)].mean(0, dtype=np.float32) for row in index.row])  # (N, V, C)
    return means, labels


def people_found(collected: Collected) -> dict[str, int]:
    """Number of people detected in each usable clip; if it was not recorded, the number of people with boxes."""
    assert collected.boxes is not None
    assert collected.clips is not None
    counted = collected.people or people_per_clip(collected.boxes.table)
    return {str(clip): counted.get(str(clip), 0) for clip in collected.clips.usable().clip_id}


def failure_rows(collected: Collected) -> list[dict[str, str]]:
    """Clips that a stage recorded as failed: clip, stage, reason; the earliest stage of each clip only."""
    sources: list[tuple[str, Mapping[str, str]]] = []
    if collected.clips is not None:
        broken = collected.clips.table[collected.clips.table.error != ""]
        sources.append(("data", dict(zip(broken.clip_id, broken.error, strict=True))))
    if collected.boxes is not None:
        sources.append(("detect", collected.boxes.failed))
    if collected.poses is not None:
        sources.append(("estimate", collected.poses.meta.failed))
    seen: set[str] = set()
    rows = []
    for stage, failed in sources:
        for clip_id, reason in sorted(failed.items()):
            if clip_id not in seen:
                seen.add(clip_id)
                rows.append({"clip": clip_id, "stage": stage, "reason": reason})
    return rows
