"""Scores of other projects -> our scores artifacts.

``scores-hpnet``: the authors' score folder. ``scores-csv`` and ``scores-npz``: one stream of any other model, so that
it can be part of an ensemble. Every reader joins by name and checks classes and clips; nothing is left out without a
message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..artifacts.files import delete_old, require_columns, write_json
from ..artifacts.imported import PROTOCOL_FILE
from ..artifacts.labelling import Labelling
from ..artifacts.scores import Scores
from ..core.clip_ids import check_clip_ids
from ..core.csv_text import read_csv_text, write_csv
from ..core.reading import read_text, short
from . import protocols
from .pickles import load_array, load_arrays, load_pickle

HPNET_STREAMS = {"J": "hpj", "B": "hpb", "JM": "hpjm", "BM": "hpbm"}
"""The authors' names of the topology streams -> ours."""

MOST_LIST_BYTES = 64 << 20
"""Of a list of clips."""
_PART = re.compile(r"(?:(\d+)_)?best_score\.npy")
_PICKLE = re.compile(r"(J|B|JM|BM)_.*score\.pkl")


@dataclass(frozen=True)
class ImportedScores:
    """Scores of several streams over the same class list.

    Attributes:
        streams: our stream name -> scores.
        classes: label, name, prompt.
        frequencies: label, name, count of training clips; None without a training list.
        notes: sentences for the reader.
        protocol: that gives the labels; empty if the clips have their own labels.
    """

    streams: dict[str, Scores]
    classes: pd.DataFrame
    frequencies: pd.DataFrame | None = None
    notes: tuple[str, ...] = field(default=())
    protocol: str = ""

    def save(self, folder: Path) -> None:
        """Write STREAM/scores.parquet per stream, classes.csv and, if known, frequencies.csv and the protocol.

        The score files record the class names and the labels and splits of their clips.

        Raises:
            ValueError: the folder has streams of another class list.
        """
        folder.mkdir(parents=True, exist_ok=True)
        own = [str(name) for name in self.classes.name]
        names = _named_classes(folder / "classes.csv", own)
        for stream, scores in self.streams.items():
            facts = zip(scores.labels.tolist(), scores.splits, strict=True)
            made = Labelling(tuple(names or own), dict(zip(scores.clip_ids, facts, strict=True)))
            replace(scores, labelling=made).save(folder / stream / "scores.parquet")
        if names is None:
            write_csv(self.classes[["label", "name", "prompt"]], delete_old(folder / "classes.csv"))
        if self.frequencies is not None:
            write_csv(self.frequencies, delete_old(folder / "frequencies.csv"))
        if self.protocol:
            write_json(folder / PROTOCOL_FILE, {"protocol": self.protocol})


def _named_classes(file: Path, names: list[str]) -> list[str] | None:
    """The names of an existing classes.csv, which is kept because plain numbers say less; else None.

    Raises:
        ValueError: it lists other classes than ``names``.
    """
    if not file.is_file():
        return None
    table = read_csv_text(file, str(file))
    require_columns(table, ("name",), str(file))
    known = [str(name) for name in table["name"]]
    numbers = [str(label) for label in range(len(known))]
    if len(known) != len(names) or (known != names and numbers not in (known, names)):
        at = next(
            (i for i, (a, b) in enumerate(zip(known, names, strict=False)) if a != b), min(len(known), len(names))
        )
        raise ValueError(
            f"{file} lists {len(known)} classes, these scores have {len(names)}, and they differ from class {at} on: "
            "scores for another class list; choose another --out"
        )
    return known if names == numbers else None


def import_scores_hpnet(folder: Path, protocol: str, allow_missing: bool = False) -> ImportedScores:
    """Read the authors' score folder.

    ``N_best_score.npy`` with ``N_best_name.txt`` (softmax of the multimodal stream, in parts; stream ``multimodal``),
    ``J|B|JM|BM_*score.pkl`` (name -> K logits; hpj, hpb, hpjm, hpbm), ``test_*.txt`` and, if they exist,
    ``validation_*.txt`` (clips) and ``train_*.txt`` (class frequencies).

    Scores stay as stored: probabilities for ``multimodal``, logits for the others.

    Args:
        folder: the authors' files.
        protocol: gives labels and class order, see :data:`hpnet.data.sets.SETS`.
        allow_missing: accept listed test clips that a stream does not score.

    Raises:
        FileNotFoundError: no score files, or no test list.
        ValueError: scores for another class list, a clip scored twice or in no list, missing clips.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} is missing")
    classes = protocols.class_table(protocol)
    notes: list[str] = []
    lists = {split: _clip_list(folder, prefix, protocol) for split, prefix in
             (("test", "test"), ("val", "validation"), ("train", "train"))}  # fmt: skip
    if lists["test"] is None:
        raise FileNotFoundError(f"{folder} has no test_*.txt, the list of its test clips")
    split_of: dict[str, str] = {}
    label_of: dict[str, int] = {}
    for split in ("test", "val"):
        clips = lists[split]
        if clips is not None:
            split_of |= dict.fromkeys(clips, split)
            label_of |= clips

    raw: dict[str, dict[str, NDArray[np.float32]]] = {}
    for part in sorted(p for p in folder.iterdir() if _PART.fullmatch(p.name)):
        _merge(raw.setdefault("multimodal", {}), _read_part(part, protocol), part)
    for file in sorted(folder.iterdir()):
        match = _PICKLE.fullmatch(file.name)
        if match:
            _merge(raw.setdefault(HPNET_STREAMS[match[1]], {}), _read_pickle(file, protocol), file)
    if not raw:
        raise FileNotFoundError(f"{folder} has no N_best_score.npy and no J|B|JM|BM_*score.pkl")
    order = [s for s in ("hpj", "hpb", "hpjm", "hpbm", "multimodal") if s in raw]
    notes += [f"no scores of stream {s}" for s in ("hpj", "hpb", "hpjm", "hpbm", "multimodal") if s not in raw]

    streams: dict[str, Scores] = {}
    for stream in order:
        rows = raw[stream]
        stray = sorted(set(rows) - set(split_of))
        if stray:
            raise ValueError(
                f"stream {stream}: {len(stray)} scored clips are in no list of {folder}, such as {stray[0]}"
            )
        lacking = sorted(c for c, split in split_of.items() if split == "test" and c not in rows)
        if lacking:
            text = f"stream {stream}: {len(lacking)} of the listed test clips have no score, such as {lacking[0]}"
            if not allow_missing:
                raise ValueError(f"{text} (--allow-missing imports the available scores)")
            notes.append(text)
        ids = [c for c in split_of if c in rows]
        streams[stream] = _scores(ids, [split_of[c] for c in ids], [label_of[c] for c in ids], rows, classes, stream)

    frequencies = None
    if lists["train"] is None:
        notes.append("no train_*.txt: training frequencies are unknown")
    else:
        count = np.bincount(list(lists["train"].values()), minlength=len(classes))
        frequencies = classes[["label", "name"]].assign(count=count)
    return ImportedScores(streams, classes, frequencies, tuple(notes), protocol)


def import_scores_csv(file: Path, stream: str, protocol: str | None = None, kind: str | None = None) -> ImportedScores:
    """Read one stream from a CSV: ``clip_id`` (or name), optional ``label`` and ``split``, and a column per class.

    Class columns are headed by class names (in any order, with a protocol) or by 0..K-1. Labels and splits come from
    the protocol, if one is given, else from the columns. Without a split column every clip is a test clip.

    Args:
        file: the table.
        stream: its name.
        protocol: see :data:`hpnet.data.sets.SETS`; None: labels and splits are in the file.
        kind: ``probabilities`` to require that rows are >= 0 and sum to 1.

    Raises:
        ValueError: columns are missing or belong to another class list, or clips are listed twice.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing")
    table = read_csv_text(file, str(file))
    key = next((c for c in ("clip_id", "name") if c in table.columns), None)
    if key is None:
        raise ValueError(f"{file} has no column clip_id (it has {', '.join(map(str, table.columns))})")
    columns = [str(c) for c in table.columns if c not in ("clip_id", "name", "label", "split")]
    classes = None if protocol is None else protocols.class_table(protocol)
    columns = _class_columns(columns, classes, file)
    names = [str(n) for n in table[key]]
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float32)
    strange = np.argwhere(np.isnan(values))
    if len(strange):
        row, column = strange[0]
        raise ValueError(
            f"{file}: clip {names[row]} has score {table[columns[column]].iloc[row]!r} for class {columns[column]}; "
            "expected a number"
        )
    labels = None if "label" not in table.columns else table.label.tolist()
    splits = None if "split" not in table.columns else [str(x) for x in table.split]
    if classes is None and not all(c.isdigit() for c in columns):
        classes = pd.DataFrame({"label": range(len(columns)), "name": columns, "prompt": columns})
    return _one_stream(file, stream, names, values, labels, splits, protocol, classes, kind)


def import_scores_npz(file: Path, stream: str, protocol: str | None = None, kind: str | None = None) -> ImportedScores:
    """Read one stream from an .npz: ``clip_id`` (or ``names``) (N,), ``scores`` (or ``logits``) (N, K), optional
    ``labels`` (N,) and ``splits`` (N,). Arguments and errors as for :func:`import_scores_csv`; classes are in the
    protocol's order.
    """
    keys = {
        "names": ("clip_id", "clip_ids", "names"), "values": ("scores", "logits", "probabilities"),
        "labels": ("labels", "label"), "splits": ("splits", "split"),
    }  # fmt: skip
    arrays, there = load_arrays(file, [key for known in keys.values() for key in known])
    names, values, labels, splits = (next((arrays[k] for k in known if k in arrays), None) for known in keys.values())
    if names is None or values is None or values.ndim != 2 or names.shape != (len(values),):
        shapes = [f"{k} {arrays[k].shape}" if k in arrays else short(k, 40) for k in there[:10]]
        raise ValueError(f"{file} holds {', '.join(shapes)}; expected clip_id (N,) and scores (N, K)")
    for what, found in (("labels", labels), ("splits", splits)):
        if found is not None and found.shape != names.shape:
            raise ValueError(f"{file}: {what} are {found.shape}; expected {names.shape}, one for each clip")
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{file}: scores are {values.dtype}; expected numbers")
    return _one_stream(
        file,
        stream,
        [str(n) for n in names],
        values.astype(np.float32),
        None if labels is None else labels.tolist(),
        None if splits is None else [str(x) for x in splits],
        protocol,
        None if protocol is None else protocols.class_table(protocol),
        kind,
    )


# --- parts ----------------------------------------------------------------------------------------------------------


def _read_lines(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path, MOST_LIST_BYTES).splitlines() if line.strip()]


def _clip_list(folder: Path, prefix: str, protocol: str) -> dict[str, int] | None:
    """clip_id -> label of ``prefix_*.txt``; if there are several, the one named after the protocol (test_CS.txt)."""
    files = sorted(folder.glob(f"{prefix}_*.txt"))
    if len(files) > 1:
        tail = protocol.rsplit("-", 1)[-1]
        files = [f for f in files if f.stem.lower().endswith(f"_{tail}")]
        if len(files) != 1:
            raise ValueError(f"{folder} has several {prefix}_*.txt and no {prefix}_{tail}.txt: keep the right one")
    if not files:
        return None
    table = protocols.label_and_split(protocol, [line.split()[0] for line in _read_lines(files[0])])
    outside = table[table.label < 0]
    if len(outside) and prefix == "train":
        table = table[table.label >= 0]  # clips of other classes are no training clips of this protocol
    elif len(outside):
        raise ValueError(
            f"{files[0]}: {len(outside)} clips have no class in {protocol}, such as {outside.clip_id.iloc[0]}"
        )
    return dict(zip(table.clip_id, (int(x) for x in table.label), strict=True))


def _merge(into: dict[str, NDArray[np.float32]], rows: Mapping[str, NDArray[np.float32]], file: Path) -> None:
    twice = sorted(set(into) & set(rows))
    if twice:
        raise ValueError(f"{file}: {len(twice)} clips are also scored by another part, such as {twice[0]}")
    into.update(rows)


def _by_clip(names: Sequence[str], values: Iterable[Any], protocol: str, file: Path) -> dict[str, NDArray[np.float32]]:
    rows: dict[str, NDArray[np.float32]] = {}
    for name, value in zip(names, values, strict=True):
        clip = protocols.clip_id(protocol, name)
        if clip in rows:
            raise ValueError(f"{file}: clip {clip} is scored twice")
        try:
            row = np.asarray(value)
        except ValueError:  # lists of different lengths
            row = np.zeros(0, object)
        if row.ndim != 1 or row.dtype.kind not in "fiu":
            raise ValueError(f"{file}: clip {clip} has scores of shape {row.shape}, {row.dtype}; expected K numbers")
        rows[clip] = row.astype(np.float32)
    return rows


def _read_part(file: Path, protocol: str) -> dict[str, NDArray[np.float32]]:
    listed = file.with_name(file.name.replace("best_score.npy", "best_name.txt"))
    if not listed.is_file():
        raise FileNotFoundError(f"{listed} is missing: it names the rows of {file.name}")
    values = load_array(file)
    names = _read_lines(listed)
    if values.ndim != 2 or len(values) != len(names):
        raise ValueError(f"{file} is {values.shape} but {listed.name} has {len(names)} names; expected (names, K)")
    return _by_clip(names, values, protocol, file)


def _read_pickle(file: Path, protocol: str) -> dict[str, NDArray[np.float32]]:
    content = load_pickle(file)
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{file} holds a {type(content).__name__}; expected a dict of clip name -> K scores")
    return _by_clip(list(content), content.values(), protocol, file)


def _scores(
    ids: Sequence[str],
    splits: Sequence[str],
    labels: Sequence[int],
    rows: Mapping[str, NDArray[np.float32]],
    classes: pd.DataFrame,
    stream: str,
) -> Scores:
    for clip in ids:
        if len(rows[clip]) != len(classes):
            raise ValueError(
                f"stream {stream}: clip {clip} has {len(rows[clip])} scores, the class list has {len(classes)} "
                "classes: scores for another class list"
            )
    logits = np.stack([rows[c] for c in ids]) if ids else np.zeros((0, len(classes)), np.float32)
    return Scores(tuple(ids), tuple(splits), np.asarray(labels, dtype=np.int64), logits)


def _class_columns(columns: list[str], classes: pd.DataFrame | None, file: Path) -> list[str]:
    """Score columns in label order."""
    if not columns:
        raise ValueError(f"{file} has no score columns")
    if all(c.isdigit() for c in columns):
        ordered = sorted(columns, key=int)
        if [int(c) for c in ordered] != list(range(len(ordered))):
            raise ValueError(f"{file}: score columns are {ordered[0]} to {ordered[-1]}; expected 0 to K-1 without gaps")
        return ordered
    if classes is None:
        return columns
    names = [str(n) for n in classes.name]
    strange, lacking = sorted(set(columns) - set(names)), sorted(set(names) - set(columns))
    if strange or lacking:
        what = (
            f"column {strange[0]!r} is no class of the protocol" if strange else f"class {lacking[0]!r} has no column"
        )
        raise ValueError(f"{file}: {what}: scores for another class list")
    return names


def _labels(file: Path, names: Sequence[str], labels: Sequence[Any], classes: Sequence[str]) -> list[int]:
    """Labels given as numbers (-1: unknown) or as class names -> numbers."""
    found = []
    number_of = {name: number for number, name in reversed(list(enumerate(classes)))}
    for name, label in zip(names, labels, strict=True):
        try:
            number = number_of[str(label)] if str(label) in number_of else float(label)
        except (ValueError, TypeError):  # TypeError: a complex number
            number = -2
        if number % 1 or not -1 <= number < len(classes):
            raise ValueError(
                f"{file}: clip {name} has label {str(label)!r}; expected 0 to {len(classes) - 1}, or a class's name"
            )
        found.append(int(number))
    return found


def _one_stream(
    file: Path,
    stream: str,
    names: Sequence[str],
    values: NDArray[np.float32],
    labels: Sequence[Any] | None,
    splits: Sequence[str] | None,
    protocol: str | None,
    classes: pd.DataFrame | None,
    kind: str | None,
) -> ImportedScores:
    if not names:
        raise ValueError(f"{file} has no clip")
    if classes is None:
        numbers = [str(k) for k in range(values.shape[1])]
        classes = pd.DataFrame({"label": range(len(numbers)), "name": numbers, "prompt": numbers})
    given = None if labels is None else _labels(file, names, labels, [str(name) for name in classes.name])
    strange = sorted(set(splits or ()) - {"train", "val", "test", ""})
    if strange:
        raise ValueError(f"{file}: split {strange[0]!r} is not train, val, test or empty")
    if protocol is not None:
        table = protocols.label_and_split(protocol, names)
        ids = [str(c) for c in table.clip_id]
        truth = [int(x) for x in table.label]
        if given is not None and given != truth:
            row = next(i for i, (a, b) in enumerate(zip(given, truth, strict=True)) if a != b)
            raise ValueError(f"{file}: clip {ids[row]} has label {given[row]}, {protocol} says {truth[row]}")
        parts = [str(s) for s in table.split] if splits is None else list(splits)
    else:
        if given is None:
            raise ValueError(f"{file} has no labels: add a label column, or give a --protocol")
        ids, truth = list(names), given
        parts = ["test"] * len(ids) if splits is None else list(splits)
    check_clip_ids(ids, str(file))
    if kind == "probabilities" and not ((values >= 0).all() and np.allclose(values.sum(1), 1.0, atol=1e-3)):
        raise ValueError(f"{file} should be probabilities, but its rows are not >= 0 with sum 1: logits?")
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(c for c in ids if c in seen or seen.add(c))  # type: ignore[func-returns-value]
        raise ValueError(f"{file}: clip {twice} is listed twice")
    rows = dict(zip(ids, values, strict=True))
    return ImportedScores({stream: _scores(ids, parts, truth, rows, classes, stream)}, classes)
