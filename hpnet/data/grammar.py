"""A protocol of a data set: a grammar of clip names, a list of classes, and a rule for splits."""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

import pandas as pd

from ..artifacts.clips import SEPARATOR
from .holdout import by_share

COLUMNS = ("clip_id", "label", "class_name", "split", "subject", "source", "camera", "setup", "repetition")
EXTENSION = r"(?:\.[A-Za-z0-9]{1,9})?"
"""A pattern of the text that may follow the name of a clip."""


@dataclass(frozen=True)
class ClipName:
    """The parts of a clip's name. ``label`` is -1 for an action outside the data set's classes."""

    clip_id: str
    label: int
    subject: int
    camera: int
    setup: int
    repetition: int


@dataclass(frozen=True)
class Splitting:
    """How clips are split if the data set does not define it; see :func:`hpnet.data.protocols.label_and_split`."""

    val_fraction: float = 0.15
    seed: int = 7
    test_fraction: float = 0.2
    keep_missing: bool = False


SplitRule = Callable[[ClipName], str]
Parser = Callable[[str], "ClipName | None"]


class Labels(typing.Protocol):
    """The interface of a protocol, with or without a grammar of names."""

    @property
    def data_set(self) -> str:
        """Name of its data set; empty if it is not a published one."""

    def class_table(self, clips: pd.DataFrame | Iterable[str] | None = None) -> pd.DataFrame:
        """Classes: label (0..K-1), name, prompt, and descriptions if the data set has them."""

    def label_and_split(self, names: Sequence[str], how: Splitting) -> pd.DataFrame:
        """The columns :data:`COLUMNS`, one row for each name, in the same order."""

    def clip_id(self, name: str) -> str:
        """The clip that a name stands for."""


@dataclass(frozen=True)
class Protocol:
    """One protocol of a data set with labels and splits in its clip names.

    Attributes:
        data_set: name of the data set; protocols of one data set can use the same videos.
        classes: gives label, name, prompt and descriptions of the whole data set, in label order.
        pattern: the grammar as text, for error messages.
        parse: file name -> ClipName; None if the name does not match.
        split: ClipName -> train, val, test, or empty for a clip that the protocol does not use.
        own_validation: the rule defines validation clips; otherwise they are taken from the training subjects.
        left_out: clips that the published lists leave out.
        only: names of the classes that the protocol uses; empty: all.
    """

    data_set: str
    classes: Callable[[], pd.DataFrame]
    pattern: str
    parse: Parser
    split: SplitRule
    own_validation: bool = False
    left_out: Callable[[], frozenset[str]] = frozenset
    only: tuple[str, ...] = ()

    def class_table(self, clips: pd.DataFrame | Iterable[str] | None = None) -> pd.DataFrame:
        """Classes of the protocol, independent of the clips: label (0..K-1), name, prompt, descriptions."""
        table = self.classes()
        if self.only:
            table = table[table.name.isin(self.only)]
        return table.assign(label=range(len(table))).reset_index(drop=True)

    def label_and_split(self, names: Sequence[str], how: Splitting = Splitting()) -> pd.DataFrame:
        """Label and split clips by their names; see :func:`hpnet.data.protocols.label_and_split`."""
        classes = [str(name) for name in self.class_table().name]
        label_of = {str(name): label for label, name in enumerate(classes)}
        kept = {label: label_of.get(str(name), -1) for label, name in enumerate(self.classes().name)}
        clips = [self._parsed(str(name)) for name in names]
        clips = [replace(clip, label=kept.get(clip.label, -1)) for clip in clips]
        refuse_twins([clip.clip_id for clip in clips], list(names))

        left_out = frozenset[str]() if how.keep_missing else self.left_out()
        splits = [self.split(c) if c.label >= 0 and c.clip_id not in left_out else "" for c in clips]
        if not self.own_validation:
            training = Counter(str(c.subject) for c, split in zip(clips, splits, strict=True) if split == "train")
            held_out = by_share(training, how.val_fraction, how.seed)
            splits = [
                "val" if split == "train" and str(c.subject) in held_out else split
                for c, split in zip(clips, splits, strict=True)
            ]
        rows = [
            (c.clip_id, c.label, classes[c.label] if c.label >= 0 else "", split, str(c.subject), str(c.subject),
             c.camera, c.setup, c.repetition)
            for c, split in zip(clips, splits, strict=True)
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def clip_id(self, name: str) -> str:
        """The clip that a name stands for.

        Raises:
            ValueError: the name does not match; gives the expected pattern.
        """
        return self._parsed(name).clip_id

    def _parsed(self, name: str) -> ClipName:
        clip = self.parse(name)
        if clip is None:
            raise ValueError(f"clip name {name!r} does not parse; expected {self.pattern}")
        return clip


# --- parts of data sets -----------------------------------------------------------------------------------------------


def basename(name: str) -> str:
    """The last part of a path with slashes or backslashes."""
    return name.strip().replace("\\", "/").rsplit("/", 1)[-1]


@cache
def shipped_classes(file: str) -> pd.DataFrame:
    """The classes of a data set, from the file ``SET_classes.csv`` of this package.

    Returns:
        label, name, prompt and, if there is a file ``SET_descriptions.csv``, descriptions.
    """
    with resources.files(f"{__package__}.sets").joinpath(file).open(encoding="utf-8") as opened:
        table = pd.read_csv(opened, keep_default_na=False)
    return described(table, file.replace("_classes.csv", "_descriptions.csv"))


def described(classes: pd.DataFrame, file: str) -> pd.DataFrame:
    """A list of classes with their descriptions, from a file of this package (name, description; a row for each).

    Returns:
        The list with the column ``descriptions`` (:class:`hpnet.artifacts.clips.Clips`), or as it is without that file.
    """
    source = resources.files(f"{__package__}.sets").joinpath(file)
    if not source.is_file():
        return classes
    with source.open(encoding="utf-8") as opened:
        table = pd.read_csv(opened, keep_default_na=False, dtype=str)
    texts = table.groupby("name", sort=False).description.agg(SEPARATOR.join)
    return classes.assign(descriptions=[str(texts.get(str(name), "")) for name in classes.name])


@cache
def shipped_clips(file: str) -> frozenset[str]:
    """A list of clips in a file of this package."""
    text = resources.files(f"{__package__}.sets").joinpath(file).read_text(encoding="utf-8")
    return frozenset(text.split())


def train_subjects(subjects: AbstractSet[int]) -> SplitRule:
    """These are training clips, all others test clips."""
    return lambda clip: "train" if clip.subject in subjects else "test"


def test_subjects(subjects: AbstractSet[int]) -> SplitRule:
    """These are test clips, all others training clips."""
    return lambda clip: "test" if clip.subject in subjects else "train"


def groups(
    of: Callable[[ClipName], int], train: AbstractSet[int], test: AbstractSet[int], val: AbstractSet[int] = frozenset()
) -> SplitRule:
    """Splits by a number of the clip; clips in none of the sets are not used."""
    table = dict.fromkeys(train, "train") | dict.fromkeys(val, "val") | dict.fromkeys(test, "test")
    return lambda clip: table.get(of(clip), "")


def camera(clip: ClipName) -> int:
    """The camera of a clip, for :func:`groups`."""
    return clip.camera


def subject(clip: ClipName) -> int:
    """The subject of a clip, for :func:`groups`."""
    return clip.subject


def refuse_twins(ids: Sequence[str], names: Sequence[str]) -> None:
    """Refuse two files with the same clip id.

    Raises:
        ValueError: names both (with non-ASCII letters as escapes, because they may look the same).
    """
    first: dict[str, str] = {}
    for clip, name in zip(ids, names, strict=True):
        if clip in first:
            raise ValueError(
                f"clip {clip!r} is given twice: {first[clip]!a} and {name!a}; keep one of them, or rename one"
            )
        first[clip] = str(name)
