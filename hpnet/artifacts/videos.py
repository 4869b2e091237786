"""The list of videos: ``videos.csv``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..core.clip_ids import check_clip_ids, refuse_alike
from ..core.csv_text import numbers, read_csv, write_csv
from ..core.stretch import Stretch
from .files import delete_old, require_columns
from .missing import missing

VIDEO_COLUMNS = ("clip_id", "path", "bytes", "digest", "width", "height", "fps", "frames", "seconds", "error")
UNKNOWN: dict[str, str | int | float] = {
    "path": "", "bytes": 0, "digest": "", "width": 0, "height": 0, "fps": 0.0, "frames": 0, "seconds": 0.0, "error": "",
}  # fmt: skip
"""Values for unknown facts, by column."""
STRETCH_COLUMNS = ("start_s", "end_s")
"""Columns that videos.csv has only where a clip is a part of a video; empty for whole videos."""


def stretches(table: pd.DataFrame) -> dict[str, Stretch]:
    """Clip -> its part of the video, of the clips that are not whole videos.

    Args:
        table: videos.csv, or a table joined with it.
    """
    if not set(STRETCH_COLUMNS) <= set(table.columns):
        return {}
    rows = zip(table.clip_id, table.start_s, table.end_s, strict=True)
    return {str(clip_id): Stretch(float(start), float(end)) for clip_id, start, end in rows if not pd.isna(end)}


@dataclass(frozen=True)
class Videos:
    """The videos (``videos.csv``), a row for each clip; labels and splits are in ``clips.csv``.

    ``path`` is relative to the working directory of the project; ``bytes`` and ``digest`` are those of the file when
    the table was made; ``width`` and ``height`` are pixels of the frames as they are read; ``seconds`` go from the
    first frame to the end of the last one; ``error`` is empty, or why the clip cannot be used. For clips imported as
    poses or features, the values are those of the imported file; unknown values are 0 or empty.

    A clip that is a part of a longer video has ``start_s`` and ``end_s`` too, seconds from the video's first frame. Its
    frames are counted from the first one of that part everywhere, and ``frames`` and ``seconds`` are of the part.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        require_columns(self.table, VIDEO_COLUMNS, "videos.csv")
        check_clip_ids(self.table.clip_id, "videos.csv")
        refuse_alike(self.table.clip_id, "videos.csv")
        for clip_id, part in stretches(self.table).items():
            if not 0 <= part.start_s < part.end_s < np.inf:
                raise ValueError(
                    f"videos.csv: clip {clip_id!r} is from {part.start_s} to {part.end_s} s; expected start < end"
                )
        repeated = self.table.clip_id[self.table.clip_id.duplicated()]
        if len(repeated):
            raise ValueError(f"videos.csv: clip {repeated.iloc[0]!r} is listed twice")

    def usable(self) -> pd.DataFrame:
        """The rows without an error."""
        return self.table[self.table.error == ""].reset_index(drop=True)

    def failures(self) -> dict[str, str]:
        """clip_id -> reason of the clips that cannot be used."""
        broken = self.table[self.table.error != ""]
        return {str(clip_id): str(error) for clip_id, error in zip(broken.clip_id, broken.error, strict=True)}

    def changed(self, digests: dict[str, str]) -> list[str]:
        """The clips with files that changed since the table was made, or are missing.

        Args:
            digests: clip_id -> present digest of its file (:func:`hpnet.work.shards.content_digest`).
        """
        then = zip(self.table.clip_id, self.table.digest, strict=True)
        return [str(clip_id) for clip_id, digest in then if digest and digests.get(clip_id, digest) != digest]

    def save(self, folder: Path) -> None:
        """Write videos.csv."""
        parts = STRETCH_COLUMNS if stretches(self.table) else ()
        write_csv(self.table[[*VIDEO_COLUMNS, *parts]], delete_old(folder / "videos.csv"))

    @classmethod
    def load(cls, folder: Path) -> Videos:
        """Read videos.csv of a data folder."""
        file = folder / "videos.csv"
        if not file.is_file():
            raise missing(file, "run `hpnet data` first")
        remedy = "run `hpnet data` again"
        table = read_csv(file, ("clip_id", "path", "digest", "error"), ("bytes", "width", "height", "frames"), remedy)
        for column in {"fps", "seconds", *STRETCH_COLUMNS} & set(table.columns):
            table[column] = numbers(table[column], f"{file}: column {column}", remedy)
        return cls(table)
