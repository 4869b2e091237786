"""What scores and models were made from: classes, labels and splits; and refusing files that do not belong together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from .files import read_json

LABELLING = "labelling"
"""Where score files, models and config.json keep their :class:`Labelling`."""


@dataclass(frozen=True)
class Labelling:
    """What scores or a model were made from: the class names in order, and the label and split of each clip.

    It lies in ``scores.parquet`` as metadata and, without the test clips, which nothing is chosen on, in
    ``model.safetensors``, whose digest ``config.json`` has. Clips that were not used are not in it: a table may grow,
    and its rows may change places.

    Attributes:
        classes: K names in label order; "0", "1", ... where only their number is known.
        clips: clip_id -> (label, split).
    """

    classes: tuple[str, ...]
    clips: Mapping[str, tuple[int, str]]

    @property
    def digest(self) -> str:
        """16 hexadecimal digits."""
        return hashlib.blake2b(self.to_text().encode(), digest_size=8).hexdigest()

    def to_text(self) -> str:
        """As JSON on one line, clips in order of their id."""
        clips = [[clip_id, *self.clips[clip_id]] for clip_id in sorted(self.clips)]
        return json.dumps({"classes": list(self.classes), "clips": clips}, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Labelling:
        """The inverse of :meth:`to_text`.

        Raises:
            ValueError: the text is something else.
        """
        try:
            raw = json.loads(text)
            clips = {str(clip_id): (int(label), str(split)) for clip_id, label, split in raw["clips"]}
            return cls(tuple(str(name) for name in raw["classes"]), clips)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its record of labels is damaged ({error})") from None

    def of(self, clip_ids: Iterable[str]) -> Labelling:
        """That of some clips; those that it lacks are left out."""
        return Labelling(self.classes, {clip_id: self.clips[clip_id] for clip_id in clip_ids if clip_id in self.clips})

    def without_test(self) -> Labelling:
        """What weights are made from: that of all but the test clips."""
        return Labelling(self.classes, {clip: fact for clip, fact in self.clips.items() if fact[1] != "test"})

    def _nameless(self) -> bool:
        return self.classes == tuple(map(str, range(len(self.classes))))

    def renamed(self, now: Labelling) -> str:
        """The first class that is another one in ``now``, in words; empty where all are the same or have no names."""
        if len(self.classes) != len(now.classes):
            return f"{len(self.classes)} classes then, {len(now.classes)} now"
        if self._nameless() or now._nameless():
            return ""
        differ = [k for k, (then, name) in enumerate(zip(self.classes, now.classes, strict=True)) if then != name]
        return f"class {differ[0]} was {self.classes[differ[0]]!r}, now {now.classes[differ[0]]!r}" if differ else ""

    def change(self, now: Labelling) -> str:
        """The first difference of ``now`` in what this covers, in words; empty where there is none."""
        renamed = self.renamed(now)
        differ = sorted(clip_id for clip_id, then in self.clips.items() if now.clips.get(clip_id) != then)
        if renamed or not differ:
            return renamed
        (label, split), others = self.clips[differ[0]], f" ({len(differ)} such clips)" if len(differ) > 1 else ""
        if differ[0] not in now.clips:
            return f"clip {differ[0]!r} ({self._name(label)}, {split or 'no split'}) is not there any more{others}"
        new_label, new_split = now.clips[differ[0]]
        if new_label != label:
            return f"clip {differ[0]!r} had {self._name(label)}, now {now._name(new_label)}{others}"
        return f"clip {differ[0]!r} had split {split!r}, now {new_split!r}{others}"

    def _name(self, label: int) -> str:
        return f"label {label} ({self.classes[label]})" if 0 <= label < len(self.classes) else f"label {label}"

    def joined(self, other: Labelling) -> Labelling:
        """That of the clips of both, which agree, with names where one has them."""
        return Labelling(other.classes if self._nameless() else self.classes, {**self.clips, **other.clips})


def require_labelling(file: Path, made: Labelling | None, now: Labelling, command: str) -> None:
    """Refuse a file that was not made from the labels, splits and classes that the tables have now.

    Args:
        made: what the file says that it was made from; None: nothing.
        now: of the tables.
        command: makes the file again.

    Raises:
        ValueError: names the file, both labellings and the first difference.
    """
    remedy = f"run `{command}` or `dvc repro`"
    if made is None:
        raise ValueError(f"{file} does not say what labels it was made from (an earlier hpnet made it?): {remedy}")
    if change := made.change(now):
        raise ValueError(
            f"{file} was made from labels {made.digest}, clips.csv and classes.csv now have "
            f"{now.of(made.clips).digest}: {change}; {remedy}, or put the tables back"
        )


def model_labelling(file: Path) -> Labelling | None:
    """What a ``model.safetensors`` was made from; None where it does not say.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            text = (opened.metadata() or {}).get(LABELLING)
    except SafetensorError as error:
        raise ValueError(f"{file.parent} is broken: {file.name} ({error}); train that stream again") from None
    return None if text is None else _labelling(text, file)


def _labelling(text: str, file: Path) -> Labelling:
    try:
        return Labelling.from_text(text)
    except ValueError as error:
        raise ValueError(f"{file}: {error}: make it again") from None


def check_trained(folder: Path, now: Labelling | None, command: str) -> None:
    """Refuse the files of one training that were not made from the same labels, or not from those of the tables.

    Args:
        folder: of ``config.json`` and, where they are there, ``model.safetensors`` and ``scores.parquet``.
        now: of the tables; None where there are none: then only the files are compared.
        command: trains again.

    Raises:
        ValueError: names the file, both labellings and the first difference.
    """
    card = read_json(folder / "config.json") if (folder / "config.json").is_file() else None
    found = {}
    for name, read in (("scores.parquet", scores_labelling), ("model.safetensors", model_labelling)):
        if (folder / name).is_file():
            found[name] = read(folder / name)
            if now is not None:
                require_labelling(folder / name, found[name], now, command)
    if card is None:
        return
    if now is not None:
        named = Labelling(tuple(str(name) for name in card.get("classes", now.classes)), {})
        require_labelling(folder / "config.json", named, now, command)
    said = card.get(LABELLING)
    for name, made in found.items():
        digest = None if made is None else made.without_test().digest
        if digest != said:
            raise ValueError(
                f"{folder / 'config.json'} is of labels {said}, {name} beside it of {digest}: they are of two "
                f"trainings; run `{command}`"
            )


def scores_labelling(file: Path) -> Labelling | None:
    """What a ``scores.parquet`` was made from, without its scores; None where it does not say.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        schema = pq.read_schema(file)
    except pa.ArrowException as error:
        raise ValueError(f"{file} is no whole Parquet file ({' '.join(str(error).split())[:200]})") from None
    return schema_labelling(schema, file)


def schema_labelling(schema: pa.Schema, file: Path) -> Labelling | None:
    """What the metadata of a Parquet file say that it was made from; None where they do not.

    Raises:
        ValueError: they are damaged; names ``file``.
    """
    text = (schema.metadata or {}).get(LABELLING.encode())
    return None if text is None else _labelling(text.decode("utf-8", "replace"), file)
