"""Reading the scores of several streams and joining them by clip. Axes: N clips, K classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..artifacts.labelling import Labelling
from ..artifacts.scores import Scores
from .stored import Floats


@dataclass(frozen=True)
class Aligned:
    """Streams joined by clip_id.

    Attributes:
        clip_ids, splits: N, ordered by clip_id.
        labels: (N,), -1 where unknown.
        values: stream -> (N, K) scores as stored; rows of zeros if the stream does not have the clip.
        present: stream -> (N,) bool.
        notes: sentences about missing clips.
        labelling: the labels that the streams were made from, if all streams record them.
        unseen: (N,) clips that all streams scored with weights that did not see them; only these are fitted on.
        folds: (N,) that every stream left them out with; -1 if one held the clip out; None: no stream has folds.
    """

    clip_ids: tuple[str, ...]
    splits: tuple[str, ...]
    labels: NDArray[np.int64]
    values: dict[str, Floats]
    present: dict[str, NDArray[np.bool_]]
    notes: tuple[str, ...] = field(default=())
    labelling: Labelling | None = None
    unseen: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    folds: NDArray[np.int64] | None = None

    @property
    def num_classes(self) -> int:
        """K."""
        return next(iter(self.values.values())).shape[1]


def _some(names: Iterable[str], shown: int = 5) -> str:
    listed = sorted(names)
    return ", ".join(listed[:shown]) + (f" and {len(listed) - shown} more" if len(listed) > shown else "")


def align(streams: Mapping[str, Scores], allow_missing: bool = False) -> Aligned:
    """Join streams by clip_id.

    Raises:
        ValueError: no stream; streams with different classes, labels or splits for a clip; clips that a stream does not
            have, unless ``allow_missing`` (the stream then adds nothing for these clips).
    """
    if not streams:
        raise ValueError("there is no stream to fuse")
    first = next(iter(streams))
    num_classes = streams[first].logits.shape[1]
    facts: dict[str, tuple[str, int]] = {}
    owner: dict[str, str] = {}
    for stream, scores in streams.items():
        if scores.logits.shape[1] != num_classes:
            raise ValueError(
                f"stream {stream!r} scores {scores.logits.shape[1]} classes but {first!r} {num_classes}: "
                "they were made for different class lists"
            )
        for clip, split, label in zip(scores.clip_ids, scores.splits, scores.labels.tolist(), strict=True):
            if label >= num_classes:
                raise ValueError(
                    f"stream {stream!r}: clip {clip!r} has label {label}, but there are {num_classes} classes"
                )
            if facts.setdefault(clip, (split, label)) != (split, label):
                known = facts[clip]
                raise ValueError(
                    f"clip {clip!r} has label {label} and split {split!r} in stream {stream!r}, "
                    f"label {known[1]} and split {known[0]!r} in {owner[clip]!r}: the streams do not belong together"
                )
            owner.setdefault(clip, stream)
    labelling = _joined_labelling(streams)
    streams, notes = _common_training_clips(streams)
    order = sorted({clip for scores in streams.values() for clip in scores.clip_ids})
    place = {clip: row for row, clip in enumerate(order)}
    values: dict[str, Floats] = {}
    present: dict[str, NDArray[np.bool_]] = {}
    missing: list[str] = []
    unseen = np.ones(len(order), dtype=bool)
    folds = (
        None if all(scores.folds is None for scores in streams.values()) else np.full((len(streams), len(order)), -1)
    )
    for number, (stream, scores) in enumerate(streams.items()):
        rows = np.array([place[clip] for clip in scores.clip_ids], dtype=np.int64)
        unseen[rows[~scores.unseen]] = False
        if folds is not None and scores.folds is not None:
            folds[number, rows] = scores.folds
        values[stream] = np.zeros((len(order), num_classes))
        values[stream][rows] = scores.logits
        present[stream] = np.zeros(len(order), dtype=bool)
        present[stream][rows] = True
        lacking = [order[row] for row in np.flatnonzero(~present[stream])]
        if lacking:
            missing.append(f"stream {stream} lacks {len(lacking)} of {len(order)} clips: {_some(lacking)}")
    if missing and not allow_missing:
        raise ValueError("; ".join(missing) + " (--allow-missing fuses the available streams)")
    splits = tuple(facts[clip][0] for clip in order)
    labels = np.array([facts[clip][1] for clip in order], dtype=np.int64)
    together = None if folds is None else np.where((folds >= 0).all(0), folds[0], -1)
    return Aligned(tuple(order), splits, labels, values, present, (*missing, *notes), labelling, unseen, together)


def _common_training_clips(streams: Mapping[str, Scores]) -> tuple[Mapping[str, Scores], list[str]]:
    """The streams without the training clips that only some of them scored out of fold; and a note where there are any.

    A stream whose validation clips were held out scored no training clip: beside it, the clips of the split val are
    what all streams have.
    """
    learnt = {
        stream: {clip for clip, own in zip(scores.clip_ids, _learnt(scores), strict=True) if own}
        for stream, scores in streams.items()
    }
    common = set.intersection(*learnt.values())
    lone = {stream: clips - common for stream, clips in learnt.items() if clips - common}
    if not lone:
        return streams, []
    kept = {
        stream: scores.where(np.array([clip not in lone.get(stream, ()) for clip in scores.clip_ids], dtype=bool))
        for stream, scores in streams.items()
    }
    listed = ", ".join(f"{len(clips)} of {stream}" for stream, clips in lone.items())
    return kept, [f"scores of training clips that are out of fold in some streams alone are left out: {listed}"]


def _learnt(scores: Scores) -> NDArray[np.bool_]:
    """(N,) the training clips that were scored out of fold."""
    training = np.array([split == "train" for split in scores.splits], dtype=bool)
    return training & scores.unseen


def _joined_labelling(streams: Mapping[str, Scores]) -> Labelling | None:
    """The labels that all streams were made from; None if one does not record them.

    Raises:
        ValueError: two of them were made from different class names, or different labels or splits of a clip.
    """
    joined: Labelling | None = None
    before: list[str] = []
    for stream, scores in streams.items():
        made = scores.labelling
        if made is None:
            return None
        change = "" if joined is None else joined.of(made.clips).change(made)
        if change:
            raise ValueError(
                f"streams {' + '.join(before)} and {stream} were made from different labels: "
                f"{change} in {stream}; run `hpnet train {stream}` or `dvc repro`"
            )
        joined = made if joined is None else joined.joined(made)
        before.append(stream)
    return joined
