"""Classes, labels and splits that scores and models were made from; refuses files that do not belong together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from ..core.reading import decoding
from .files import AGAIN, read_object

LABELLING = "labelling"
"""Key of the :class:`Labelling` in score files, models and config.json."""


@dataclass(frozen=True)
class Labelling:
    """Origin of scores or of a model: the class names in order, and the label and split of each clip.

    It is in ``scores.parquet`` as metadata and, without the test clips, in ``model.safetensors``; ``config.json`` has
    its digest. Clips that were not used are not in it, so a table may get more clips or another order.

    Attributes:
        classes: K names in label order; "0", "1", ... if only their number is known.
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
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"its record of labels is damaged ({error})") from None

    def of(self, clip_ids: Iterable[str]) -> Labelling:
        """The labelling of some clips; unknown clips are left out."""
        return Labelling(self.classes, {clip_id: self.clips[clip_id] for clip_id in clip_ids if clip_id in self.clips})

    def without_test(self) -> Labelling:
        """The labelling of all clips except test clips: the origin of weights."""
        return Labelling(self.classes, {clip: fact for clip, fact in self.clips.items() if fact[1] != "test"})

    def _nameless(self) -> bool:
        return self.classes == tuple(map(str, range(len(self.classes))))

    def renamed(self, now: Labelling) -> str:
        """The first class that differs in ``now``, as text; empty if all are equal or have no names."""
        if len(self.classes) != len(now.classes):
            return f"{len(self.classes)} classes then, {len(now.classes)} now"
        if self._nameless() or now._nameless():
            return ""
        differ = [k for k, (then, name) in enumerate(zip(self.classes, now.classes, strict=True)) if then != name]
        return f"class {differ[0]} was {self.classes[differ[0]]!r}, now {now.classes[differ[0]]!r}" if differ else ""

    def change(self, now: Labelling) -> str:
        """The first difference to ``now`` in the clips of this labelling, as text; empty if there is none."""
        renamed = self.renamed(now)
        differ = sorted(clip_id for clip_id, then in self.clips.items() if now.clips.get(clip_id) != then)
        if renamed or not differ:
            return renamed
        (label, split), others = self.clips[differ[0]], f" ({len(differ)} such clips)" if len(differ) > 1 else ""
        if differ[0] not in now.clips:
            return f"clip {differ[0]!r} ({self._name(label)}, {split or 'no split'}) does not exist any more{others}"
        new_label, new_split = now.clips[differ[0]]
        if new_label != label:
            return f"clip {differ[0]!r} had {self._name(label)}, now {now._name(new_label)}{others}"
        return f"clip {differ[0]!r} had split {split!r}, now {new_split!r}{others}"

    def _name(self, label: int) -> str:
        return f"label {label} ({self.classes[label]})" if 0 <= label < len(self.classes) else f"label {label}"

    def joined(self, other: Labelling) -> Labelling:
        """The labelling of the clips of both, which agree, with class names if one has them."""
        return Labelling(other.classes if self._nameless() else self.classes, {**self.clips, **other.clips})


def require_labelling(file: Path, made: Labelling | None, now: Labelling, command: str) -> None:
    """Refuse a file made from other labels, splits or classes than the tables have now.

    Args:
        made: the labelling recorded in the file; None: not recorded.
        now: of the tables.
        command: the command that makes the file again.

    Raises:
        ValueError: names the file, both labellings and the first difference.
    """
    remedy = f"run `{command}` or `dvc repro`"
    if made is None:
        raise ValueError(f"{file} does not record the labels it was made from (made by an earlier hpnet?): {remedy}")
    if change := made.change(now):
        raise ValueError(
            f"{file} was made from labels {made.digest}, clips.csv and classes.csv now have "
            f"{now.of(made.clips).digest}: {change}; {remedy}, or restore the tables"
        )


def model_labelling(file: Path) -> Labelling | None:
    """The labelling in a ``model.safetensors``; None if it is not recorded.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            text = (opened.metadata() or {}).get(LABELLING)
    except (SafetensorError, UnicodeDecodeError) as error:
        raise ValueError(f"{file.parent} is broken: {file.name} ({error}); train that stream again") from None
    return None if text is None else _labelling(text, file)


def _labelling(text: str, file: Path) -> Labelling:
    try:
        return Labelling.from_text(text)
    except ValueError as error:
        raise ValueError(f"{file}: {error}: make it again") from None


def check_trained(folder: Path, now: Labelling | None, command: str) -> None:
    """Refuse files of one training run that were made from different labels, or from other labels than the tables have.

    Args:
        folder: of ``config.json`` and, if they exist, ``model.safetensors`` and ``scores.parquet``.
        now: of the tables; None: compare only the files with each other.
        command: the command that trains again.

    Raises:
        ValueError: names the file, both labellings and the first difference.
    """
    card = read_object(folder / "config.json") if (folder / "config.json").is_file() else None
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
                f"{folder / 'config.json'} was made from labels {said}, {name} from {digest}: they are of two "
                f"trainings; run `{command}`"
            )


def scores_labelling(file: Path) -> Labelling | None:
    """The labelling in a ``scores.parquet``, without its scores; None if it is not recorded.

    Raises:
        ValueError: the file is damaged.
    """
    with decoding(file, AGAIN, "is not a complete Parquet file", (pa.ArrowException,)):
        schema = pq.read_schema(file)
    return metadata_labelling(schema.metadata or {}, file)


def metadata_labelling(metadata: Mapping[bytes, bytes], file: Path) -> Labelling | None:
    """The labelling in the notes of a Parquet file; None if it is not recorded.

    Raises:
        ValueError: it is damaged; names ``file``.
    """
    text = metadata.get(LABELLING.encode())
    return None if text is None else _labelling(text.decode("utf-8", "replace"), file)
