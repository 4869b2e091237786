"""Results of cross-validation: ``artifacts/crossval/NAME``. Axes: N rows, K classes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .files import load_meta, require_columns, typed, write_json, writing
from .labelling import Labelling
from .parquet import NUMBERS, TEXT, WHOLE, read_columns
from .scores import Scores

ROW_COLUMNS = ("fold", "seed", "clip_id", "split", "unit", "label", "left_out")
KINDS = {
    "fold": TEXT, "seed": WHOLE, "clip_id": TEXT, "split": TEXT, "unit": TEXT, "label": WHOLE, "left_out": WHOLE,
    "logits": NUMBERS,
}  # fmt: skip
CLASSES = b"classes"
"""Where a file of scores keeps the class names."""
FUSED = "fused"
"""All streams together, in metrics."""
SCORES, STREAMS, SUMMARY, CURVE = "scores.parquet", "streams", "summary.json", "curve.json"
"""The fused scores; the folder of STREAM.parquet; what they were made from; accuracy against training clips."""


def check_name(name: str) -> str:
    """The name of a result, which is also a folder's and a file's.

    Raises:
        ValueError: it cannot be both everywhere.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ValueError(f"{name!r} is no name of a result: expected letters, digits, dots, dashes and underscores")
    return name


@dataclass(frozen=True)
class FoldScores:
    """Scores of the clips of every fold (``scores.parquet``), one row per fold, seed and clip.

    Attributes:
        table: ``fold``, ``seed``, ``clip_id``, ``split`` (val or test; train where a network scored its training clips
            out of fold), ``unit`` (what the clip is resampled with), ``label`` (-1 where unknown) and ``left_out``
            (which of those inner folds, -1 where a clip was held out of everything), N rows.
        logits: (N, K) float32.
        classes: K names.
    """

    table: pd.DataFrame
    logits: NDArray[np.float32]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        require_columns(self.table, ROW_COLUMNS, "scores of folds")
        if self.logits.shape != (len(self.table), len(self.classes)):
            raise ValueError(
                f"scores of folds: {len(self.table)} rows and {len(self.classes)} classes, logits {self.logits.shape}"
            )
        if not np.isfinite(self.logits).all() or not self.table.label.between(-1, len(self.classes) - 1).all():
            raise ValueError("scores of folds: a score is not finite, or a label is of none of the classes")
        twice = self.table.duplicated(["fold", "seed", "clip_id"])
        if twice.any():
            row = self.table[twice].iloc[0]
            raise ValueError(f"scores of folds: clip {row.clip_id!r} stands twice in fold {row.fold!r}")

    @classmethod
    def join(cls, parts: Mapping[tuple[str, int], Scores], units: Mapping[str, str]) -> FoldScores:
        """Scores by (fold, seed) as one table.

        Args:
            units: clip_id -> what it is resampled with.

        Raises:
            ValueError: there is no part, or one does not say what classes it is of.
        """
        tables, classes = [], None
        for (fold, seed), scores in parts.items():
            if scores.labelling is None:
                raise ValueError(f"scores of fold {fold!r} do not say what classes they are of: train again")
            classes = scores.labelling.classes
            columns = {"fold": fold, "seed": seed, "clip_id": list(scores.clip_ids), "split": list(scores.splits)}
            left_out = -1 if scores.folds is None else scores.folds
            tables.append(pd.DataFrame({**columns, "label": scores.labels, "left_out": left_out}))
        if classes is None:
            raise ValueError("there is no fold with scores")
        table = pd.concat(tables, ignore_index=True)
        table["unit"] = [units[clip_id] for clip_id in table.clip_id]
        return cls(table[list(ROW_COLUMNS)], np.concatenate([scores.logits for scores in parts.values()]), classes)

    def parts(self) -> dict[tuple[str, int], Scores]:
        """(fold, seed) -> scores, the inverse of :meth:`join`."""
        found = {}
        for (fold, seed), rows in self.table.groupby(["fold", "seed"], sort=False):
            facts = zip(map(int, rows.label), map(str, rows.split), strict=True)
            labelling = Labelling(self.classes, dict(zip(map(str, rows.clip_id), facts, strict=True)))
            labels, left_out = (rows[name].to_numpy(dtype=np.int64, copy=True) for name in ("label", "left_out"))
            logits, folds = self.logits[rows.index.to_numpy()], left_out if (left_out >= 0).any() else None
            scores = Scores(tuple(rows.clip_id), tuple(rows.split), labels, logits, labelling, folds)
            found[str(fold), int(seed)] = scores
        return found

    @property
    def seeds(self) -> int:
        """How many trainings scored each clip of a fold."""
        return int(self.table.seed.nunique())

    @property
    def units(self) -> dict[str, str]:
        """clip_id -> what it is resampled with."""
        return dict(zip(self.table.clip_id, self.table.unit, strict=True))

    def tested(self) -> FoldScores:
        """The labelled test clips of every fold.

        Raises:
            ValueError: there is none.
        """
        keep = ((self.table.split == "test") & (self.table.label >= 0)).to_numpy()
        if not keep.any():
            raise ValueError("no fold has a labelled test clip: nothing to measure")
        return FoldScores(self.table[keep].reset_index(drop=True), self.logits[keep], self.classes)

    def right(self) -> NDArray[np.bool_]:
        """(N,) whether each row's best class is its own."""
        return np.asarray(self.logits.argmax(1) == self.table.label.to_numpy(), dtype=bool)

    def paired(self, other: FoldScores) -> pd.DataFrame:
        """The test clips of this and another result: a row per fold and clip, with ``fold``, ``unit``, and the shares
        of seeds that are right, ``before`` here and ``after`` there.

        Raises:
            ValueError: they were tested on other clips or in other folds.
        """
        before, after = self._shares(), other._shares()
        if not before.index.equals(after.index):
            common = len(before.index.intersection(after.index))
            raise ValueError(
                f"the results were tested on other clips or folds ({len(before)} and {len(after)} clips of folds, "
                f"{common} of them the same): run both with the same folds"
            )
        return before.rename(columns={"right": "before"}).assign(after=after.right).reset_index()

    def same_tests(self, other: FoldScores) -> bool:
        """Whether both were tested on the same clips in the same folds."""
        return self._shares().index.equals(other._shares().index)

    def _shares(self) -> pd.DataFrame:
        """The share of seeds (``right``) of each test clip, and its ``unit``, by fold and clip_id."""
        tested = self.tested()
        table = tested.table.assign(right=tested.right().astype(float))
        return table.groupby(["fold", "clip_id"]).agg(right=("right", "mean"), unit=("unit", "first"))

    def require_labels(self, now: Labelling, name: str) -> None:
        """Refuse scores of other classes or labels than the project's; splits are each fold's own.

        Raises:
            ValueError: names the result and the first difference.
        """
        splits = {clip_id: split for clip_id, (_, split) in now.clips.items()}
        rows = zip(self.table.clip_id, self.table.label, strict=True)
        made = {clip_id: (int(label), splits.get(clip_id, "")) for clip_id, label in rows}
        if change := Labelling(self.classes, made).change(now):
            raise ValueError(
                f"the result {name!r} of cross-validation was made from other labels: {change}; run `hpnet crossval "
                f"--name {name}` again, or delete artifacts/crossval/{name} and metrics/crossval/{name}.json"
            )

    def save(self, file: Path) -> None:
        """Write a Parquet file."""
        table = pa.Table.from_pandas(self.table[list(ROW_COLUMNS)], preserve_index=False)
        logits = pa.array(list(self.logits.astype(np.float32)), pa.list_(pa.float32()))
        table = table.append_column("logits", logits)
        table = table.replace_schema_metadata({CLASSES: json.dumps(self.classes)})
        with writing(file) as place:
            pq.write_table(table, place)

    @classmethod
    def load(cls, file: Path) -> FoldScores:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is something else, or an older hpnet wrote it.
        """
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: `hpnet crossval --list` shows what there is")
        try:
            read = read_columns(file, KINDS, optional=ROW_COLUMNS[1:])
            lacking = [name for name in ROW_COLUMNS if name not in read.table.columns]
            if lacking:
                raise ValueError(f"no column {lacking[0]!r}: an older hpnet wrote it")
            classes = typed(json.loads(read.metadata.get(CLASSES, b"null")), tuple[str, ...])
            return cls(read.table[list(ROW_COLUMNS)], read.lists["logits"], classes)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} is not what `hpnet crossval` writes ({error}): run it again") from None


@dataclass(frozen=True)
class FoldSize:
    """Clips of a fold, by its split; ``frequencies``: training clips of each class (K)."""

    name: str
    train: int
    val: int
    test: int
    frequencies: tuple[int, ...]


@dataclass(frozen=True)
class CrossvalSummary:
    """What a result was made from (``summary.json``).

    Attributes:
        folds: in order.
        folded_by: where the folds come from, in words.
        unit: what is resampled, such as ``source``; see :mod:`hpnet.core.units`.
        seeds: of the trainings.
        streams: that were trained or, of a result made of others, the results.
        changed: parameters that were not those of params.yaml, by dotted name.
        fusion: how the streams' weights came about, in a few words; empty of one stream.
    """

    folds: tuple[FoldSize, ...]
    folded_by: str
    unit: str
    seeds: tuple[int, ...]
    streams: tuple[str, ...]
    changed: Mapping[str, Any] = field(default_factory=dict)
    fusion: str = ""

    def save(self, folder: Path) -> None:
        """Write summary.json."""
        write_json(folder / SUMMARY, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> CrossvalSummary:
        """Read summary.json.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is something else.
        """
        if not (folder / SUMMARY).is_file():
            raise FileNotFoundError(f"{folder / SUMMARY} is missing: `hpnet crossval --list` shows what there is")
        return load_meta(folder / SUMMARY, cls._of)

    @classmethod
    def _of(cls, raw: dict[str, Any]) -> CrossvalSummary:
        return typed(raw, cls)


@dataclass(frozen=True)
class Gain:
    """What all clips bring over a share of them: a difference of accuracies and its 95 % interval, None of one unit."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy with a share of the training clips.

    Attributes:
        share: of the training clips that was asked for; 1: all of them.
        clips: that a fold trains and validates on, mean over folds and draws.
        per_action: the same for each action.
        draws: trainings of each fold: draws of sources, times seeds.
        top1: mean over folds and draws.
        low, high: 95 % interval, resampling the units of the test clips; None of one unit.
        sd: standard deviation between draws; None of one.
        gain: of all clips over these, on the same test clips; None of all.
    """

    share: float
    clips: float
    per_action: float
    draws: int
    top1: float
    low: float | None
    high: float | None
    sd: float | None
    gain: Gain | None


@dataclass(frozen=True)
class Curve:
    """A learning curve (``curve.json``): points by share, all clips last."""

    points: tuple[CurvePoint, ...]

    @property
    def text(self) -> str:
        """What the last doubling brought and what may follow; empty where no share is near a half."""
        whole = self.points[-1]
        half = min(self.points[:-1], key=lambda point: abs(point.clips / whole.clips - 0.5), default=None)
        if half is None or half.gain is None or not 0.4 <= half.clips / whole.clips <= 0.6:
            return ""
        gain = half.gain
        ends = (
            "no interval" if gain.low is None or gain.high is None else f"{_points(gain.low)} to {_points(gain.high)}"
        )
        said = (
            f"From {half.per_action:.0f} to {whole.per_action:.0f} training clips per action accuracy changed by "
            f"{_points(gain.value)} points ({ends})"
        )
        if gain.low is None or gain.low <= 0:
            return f"{said}, which may be chance: what more clips would bring is not extrapolated."
        more = f"{2 * whole.per_action:.0f}"
        return f"{said}. Such curves flatten: with {more} of the same kind it would rise by as much at most."

    def save(self, folder: Path) -> None:
        """Write curve.json."""
        write_json(folder / CURVE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Curve | None:
        """Read curve.json; None where there is none.

        Raises:
            ValueError: it is something else.
        """
        return load_meta(folder / CURVE, cls._of) if (folder / CURVE).is_file() else None

    @classmethod
    def _of(cls, raw: dict[str, Any]) -> Curve:
        return typed(raw, cls)


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def numbered(folds: pd.Series) -> NDArray[np.int64]:
    """The fold of each row as a number from 0 on (N,), to take a mean over folds by."""
    return np.unique(folds, return_inverse=True)[1].astype(np.int64)


def counted(unit: str, count: int) -> str:
    """'12 sources'."""
    return f"{count} {unit}{'' if count == 1 else 's'}"


def result_names(folder: Path) -> list[str]:
    """The results in ``artifacts/crossval``, by name."""
    return sorted(file.parent.name for file in folder.glob(f"*/{SUMMARY}"))


def load_streams(folder: Path, streams: Sequence[str]) -> dict[str, FoldScores]:
    """The scores of each stream of a result."""
    return {stream: FoldScores.load(folder / STREAMS / f"{stream}.parquet") for stream in streams}
