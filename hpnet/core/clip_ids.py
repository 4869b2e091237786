"""Valid names of clips: a path that cannot lead out of a folder, in text that every table can store.

Imported files name their clips, and exported files have the names of clips. So all ids are checked here, and only this
module makes a path from an id.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

MOST_BYTES = 1024
"""Maximum bytes of an id in UTF-8."""
MOST_PART_BYTES = 251
"""Maximum bytes of a part: the limit of most file systems (255) minus a suffix such as ``.npy``."""
EXPECTED_ID = "expected a relative path of plain parts, such as wave/01"

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_DRIVE = re.compile("[A-Za-z]:")
_SHORT_AND_PLAIN = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""Matches nearly every id of the published data sets; such ids need no further checks."""


def text_fault(text: str) -> str:
    """Why a text cannot be used in a table, a message or a file name; empty if it can."""
    if _SURROGATE.search(text):
        return "is not UTF-8"
    found = _CONTROL.search(text)
    if found:
        kind = {"\n": "a line break", "\r": "a line break", "\t": "a tab"}.get(found[0], "a control character")
        return f"holds {kind} ({found[0]!a})"
    return ""


def clip_id_fault(clip_id: object) -> str:
    """Why a value cannot be a clip id; empty if it can."""
    if not isinstance(clip_id, str):
        return f"is {type(clip_id).__name__}, not text"
    if _SHORT_AND_PLAIN.fullmatch(clip_id):
        return ""
    if not clip_id:
        return "is empty"
    wrong = text_fault(clip_id)
    if wrong:
        return wrong
    if "\\" in clip_id:
        return "holds a backslash"
    if clip_id.startswith("/"):
        return "is an absolute path"
    if _DRIVE.match(clip_id):
        return "begins with a drive letter"
    parts = clip_id.split("/")
    if ".." in parts:
        return "leads out of its folder (..)"
    if "" in parts or "." in parts:
        return "has an empty part"
    if len(clip_id.encode()) > MOST_BYTES or any(len(part.encode()) > MOST_PART_BYTES for part in parts):
        return f"is longer than {MOST_BYTES} bytes, or a part of it than {MOST_PART_BYTES}"
    return ""


def check_clip_ids(clip_ids: Iterable[object], where: str) -> None:
    """Refuse invalid ids.

    Args:
        where: the file or table of the ids, for the message.

    Raises:
        ValueError: names the first invalid id and its problem.
    """
    for clip_id in clip_ids:
        wrong = clip_id_fault(clip_id)
        if wrong:
            shown = repr(clip_id) if len(repr(clip_id)) <= 200 else f"{clip_id!r:.200}..."
            raise ValueError(f"{where}: clip id {shown} {wrong}; {EXPECTED_ID}")


def normal_form(text: str) -> str:
    """Text in Unicode's composed form (NFC), in which letters that look the same are the same."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def refuse_alike(clip_ids: Iterable[str], where: str) -> None:
    """Refuse two ids that look the same, because they differ only in Unicode form.

    Raises:
        ValueError: names both, with non-ASCII letters as escapes.
    """
    seen: dict[str, str] = {}
    for clip_id in clip_ids:
        if not clip_id.isascii():
            other = seen.setdefault(normal_form(clip_id), clip_id)
            if other != clip_id:
                raise ValueError(
                    f"{where}: clips {other!a} and {clip_id!a} look the same, their names differ in Unicode form "
                    "alone: rename one"
                )


def path_inside(folder: Path, clip_id: str, ending: str) -> Path:
    """The file of a clip in a folder; makes its parent folder.

    Args:
        ending: suffix after the id, such as ``.npy``.

    Raises:
        ValueError: the id is invalid, or a link in ``folder`` leads out of it.
    """
    check_clip_ids([clip_id], str(folder))
    file = folder / f"{clip_id}{ending}"
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{file} would be written outside {folder}: a link there leads out of it; remove the link")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
