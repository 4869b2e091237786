"""Labels, sources and splits of clips: ``clips.csv``, and ``classes.csv`` beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.clip_ids import check_clip_ids, refuse_alike, text_fault
from ..core.csv_text import read_csv, write_csv
from ..core.sides import mirror_partners
from .files import delete_old, require_columns
from .labelling import Labelling
from .missing import missing
from .videos import STRETCH_COLUMNS, UNKNOWN, VIDEO_COLUMNS, Videos

CLIP_COLUMNS = ("clip_id", "label", "subject", "source", "camera", "setup", "repetition", "split")
SEPARATOR = " | "
"""Between the descriptions of a class in ``classes.csv``."""
SPLITS = ("train", "val", "test", "")
OPTIONAL = ("pair", "mirror", "descriptions")
"""Columns that classes.csv has only where they say something."""


@dataclass(frozen=True)
class Clips:
    """Labels, sources and splits of clips (``clips.csv``), and the class names (``classes.csv``: label,name,prompt).

    ``label`` is -1 if unknown. ``subject`` is the data set's name of the person. ``source`` is the person or recording
    of a clip: the subject in data sets of people, the source in the table of a folder, empty if unknown. Clips of one
    source are not independent samples. ``split`` is train, val, test or empty.

    The table is a join: besides :data:`CLIP_COLUMNS` it has the columns of ``videos.csv``
        (:class:`hpnet.artifacts.videos.Videos`) if they are known.

    Classes may have a column ``pair`` for look-alike actions: the kind of similarity and a number, such as ``object
    1``. The two classes of a pair have the same value; other classes have none.

    Classes may have a column ``mirror``: the class that the mirror image of a clip shows ("turn right" of "turn left"),
    ``-`` if none of the classes, nothing if names and prompts say it (:func:`hpnet.core.sides.mirror_partners`).

    Classes may have a column ``descriptions``: one or more sentences, separated by :data:`SEPARATOR`.
    """

    table: pd.DataFrame
    classes: pd.DataFrame

    def __post_init__(self) -> None:
        require_columns(self.table, CLIP_COLUMNS, "clips.csv")
        require_columns(self.classes, ("label", "name", "prompt"), "classes.csv")
        check_clip_ids(self.table.clip_id, "clips.csv")
        refuse_alike(self.table.clip_id, "clips.csv")
        repeated = self.table.clip_id[self.table.clip_id.duplicated()]
        if len(repeated):
            raise ValueError(f"clips.csv: clip {repeated.iloc[0]!r} is listed twice")
        unknown = set(self.table.split) - set(SPLITS)
        if unknown:
            raise ValueError(f"clips.csv: split {sorted(unknown)[0]!r} is not train, val, test or empty")
        for column in ("name", "prompt", *OPTIONAL):
            for text in self.classes[column] if column in self.classes.columns else ():
                if wrong := text_fault(str(text)):
                    raise ValueError(f"classes.csv: {column} {str(text)!r:.200} {wrong}")
        _pairs(self.classes)
        self.mirror_partners()
        if list(self.classes.label) != list(range(len(self.classes))):
            raise ValueError("classes.csv: labels must be 0, 1, ... in order")
        outside = self.table[(self.table.label < -1) | (self.table.label >= len(self.classes))]
        if len(outside):
            row = outside.iloc[0]
            raise ValueError(
                f"clips.csv: clip {row.clip_id!r} has label {row.label}, classes.csv has {self.num_classes}"
            )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def class_names(self) -> list[str]:
        """K names in label order."""
        return [str(n) for n in self.classes["name"]]

    def mirror_partners(self) -> NDArray[np.int64]:
        """(K,) the class of each class's mirror image, -1 for none."""
        declared = [str(entry) for entry in self.classes["mirror"]] if "mirror" in self.classes.columns else []
        return mirror_partners(self.class_names, [str(prompt) for prompt in self.classes["prompt"]], declared)

    def pairs(self) -> dict[str, list[tuple[int, int]]]:
        """Pairs of labels of look-alike actions, by kind of similarity, from the class table."""
        found: dict[str, list[tuple[int, int]]] = {}
        for pair, first, second in _pairs(self.classes):
            found.setdefault(pair.rpartition(" ")[0], []).append((first, second))
        return found

    def descriptions(self) -> list[tuple[str, ...]]:
        """The descriptions of each class, from the class table; empty for classes without any."""
        if "descriptions" not in self.classes.columns:
            return [()] * self.num_classes
        return [tuple(filter(None, str(texts).split(SEPARATOR))) for texts in self.classes.descriptions]

    def labelling(self) -> Labelling:
        """Classes, labels and splits of the whole table."""
        table = self.table
        facts = zip(map(int, table.label), map(str, table.split), strict=True)
        return Labelling(tuple(self.class_names), dict(zip(map(str, table.clip_id), facts, strict=True)))

    def usable(self) -> pd.DataFrame:
        """The rows of videos without an error."""
        usable = self.table if "error" not in self.table.columns else self.table[self.table.error == ""]
        return usable.reset_index(drop=True)

    def failures(self) -> dict[str, str]:
        """clip_id -> reason of the clips whose videos cannot be used."""
        broken = self.table[self.table.error != ""] if "error" in self.table.columns else self.table[:0]
        return {str(row.clip_id): str(row.error) for row in broken.itertuples()}

    def save(self, folder: Path) -> None:
        """Write clips.csv and classes.csv; and videos.csv if the table has a video or a reason why there is none."""
        if any(name in self.table.columns and (self.table[name] != "").any() for name in ("path", "error")):
            unknown = {name: value for name, value in UNKNOWN.items() if name not in self.table.columns}
            Videos(self.table.assign(**unknown)).save(folder)
        write_csv(self.table[list(CLIP_COLUMNS)], delete_old(folder / "clips.csv"))
        more = [name for name in OPTIONAL if name in self.classes.columns and (self.classes[name] != "").any()]
        write_csv(self.classes[["label", "name", "prompt", *more]], delete_old(folder / "classes.csv"))

    @classmethod
    def load(cls, folder: Path) -> Clips:
        """Read clips.csv and classes.csv of a data folder, joined with videos.csv if it exists.

        A clip that is not in videos.csv cannot be used. Without videos.csv the properties of videos are unknown.

        Raises:
            FileNotFoundError: clips.csv or classes.csv is missing.
            ValueError: a table does not have the stage's format.
        """
        for name in ("clips.csv", "classes.csv"):
            if not (folder / name).is_file():
                raise missing(folder / name, "run `hpnet data` first")
        remedy = "run `hpnet data` again"
        numbers = ("label", "camera", "setup", "repetition")
        table = read_csv(folder / "clips.csv", ("clip_id", "split", "subject", "source"), numbers, remedy)
        if "source" not in table.columns and "path" in table.columns:
            raise ValueError(f"{folder / 'clips.csv'} is of an earlier hpnet (no videos.csv): run `hpnet data` again")
        # a class may be named 01, which is not 1
        classes = read_csv(folder / "classes.csv", ("name", "prompt", *OPTIONAL), ("label",), remedy)
        require_columns(table, CLIP_COLUMNS, "clips.csv")
        return cls(_joined(table[list(CLIP_COLUMNS)], folder), classes)


def _joined(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The clips with the columns of ``folder/videos.csv``, in the order of the clips."""
    if not (folder / "videos.csv").is_file():
        return table.assign(**UNKNOWN)
    videos = Videos.load(folder).table
    videos = videos[[*VIDEO_COLUMNS, *(name for name in STRETCH_COLUMNS if name in videos.columns)]]
    unknown = UNKNOWN | {"error": f"{folder / 'videos.csv'} does not have it: run `hpnet data` again"}
    joined = table.merge(videos, on="clip_id", how="left", indicator="found")
    lacking = joined.found != "both"
    if lacking.any():
        for column, value in unknown.items():
            joined[column] = joined[column].where(~lacking, value).astype(videos[column].dtype)
    return joined.drop(columns="found")


def _pairs(classes: pd.DataFrame) -> list[tuple[str, int, int]]:
    """The look-alike pairs of a class table: kind and number, and both labels; none without a column ``pair``.

    Raises:
        ValueError: a pair does not have two classes, or has no kind and number.
    """
    if "pair" not in classes.columns:
        return []
    found = []
    for pair, rows in classes[classes.pair != ""].groupby("pair", sort=False):
        labels = [int(label) for label in rows.label]
        if len(labels) != 2 or not re.fullmatch(r"\S.* \d+", str(pair)):
            raise ValueError(
                f"classes.csv: pair {pair!r} is of {len(labels)} classes; expected two classes, and a name such as "
                "'object 1'"
            )
        found.append((str(pair), labels[0], labels[1]))
    return found
