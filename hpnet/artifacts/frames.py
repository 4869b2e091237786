"""Person frames: Parquet shards of JPEG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.clip_ids import check_clip_ids
from ..core.reading import decoding, require_at_most
from .files import writing
from .parquet import open_parquet, require_groups, written_bytes

MOST_CLIP_FRAMES = 100_000
"""Of a clip, which is one group of rows."""
MOST_JPEG_BYTES = 16 << 20
MOST_JPEG_PX = 4096
"""Of a side."""
MOST_CLIP_BYTES = 512 << 20
"""Of a clip's person frames together."""
REMEDY = "run `hpnet detect` again"


def jpeg_size_px(data: bytes) -> tuple[int, int]:
    """Width and height that a JPEG's header says; nothing is decoded.

    Raises:
        ValueError: it is no JPEG, or its header is cut off.
    """
    place = 2
    if data[:2] != b"\xff\xd8":
        raise ValueError("is no JPEG")
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            raise ValueError("has a damaged header")
        kind = data[place + 1]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # a frame: length, bits, height, width
            return int.from_bytes(data[place + 7 : place + 9], "big"), int.from_bytes(
                data[place + 5 : place + 7], "big"
            )
        filling = kind == 0xFF
        place += 1 if filling else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    raise ValueError("has no header of a picture")


class PersonFrames:
    """Person frames for the RGB stream: Parquet shards of clip_id, frame, jpeg (bytes, square, RGB).

    A clip has ``detect.frames`` segments with ``detect.candidates`` frames each, or as many as it is long. Training
    draws from them; validation, test and prediction take the middle of each of the network's segments.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = sorted(folder.glob("frames-*.parquet"))
        if not self._files:
            raise FileNotFoundError(f"{folder} holds no person frames: run `hpnet detect` first")
        self._where: dict[str, tuple[Path, int]] = {}
        self._counts: Counter[str] = Counter()
        for file in self._files:
            with decoding(file, REMEDY, also=(pa.ArrowException,)), open_parquet(file) as shard:
                missing = {"clip_id", "frame", "jpeg"} - set(shard.schema_arrow.names)
                if missing:
                    raise ValueError(f"{file} lacks column {min(missing)!r}: it is damaged; run `hpnet detect` again")
                require_groups(file, MOST_CLIP_FRAMES)
                for group in range(shard.num_row_groups):
                    ids = shard.read_row_group(group, columns=["clip_id"])["clip_id"].to_pylist()
                    check_clip_ids(set(ids), str(file))
                    self._where.update(dict.fromkeys(ids, (file, group)))
                    self._counts.update(ids)

    @staticmethod
    def write(file: Path, clips: Iterable[tuple[str, Sequence[tuple[int, bytes]]]]) -> None:
        """Write one shard: per clip one row group of (frame, jpeg)."""
        schema = pa.schema([("clip_id", pa.string()), ("frame", pa.int32()), ("jpeg", pa.binary())])
        with writing(file) as place, pq.ParquetWriter(place, schema, compression="none") as writer:
            for clip_id, frames in clips:
                if frames:
                    columns = [[clip_id] * len(frames), [f for f, _ in frames], [j for _, j in frames]]
                    writer.write_table(pa.table(columns, schema=schema))

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._where

    def count(self, clip_id: str) -> int:
        """Number of frames of one clip; 0 when it has none."""
        return self._counts[clip_id]

    def load(self, clip_id: str) -> list[tuple[int, bytes]]:
        """(frame, jpeg) of one clip in frame order; empty when it has none."""
        if clip_id not in self._where:
            return []
        file, group = self._where[clip_id]
        with decoding(file, REMEDY, also=(pa.ArrowException,)), open_parquet(file, ["jpeg"]) as shard:
            table = shard.read_row_group(group, columns=["frame", "jpeg"])
            for chunk in table["jpeg"].chunks:
                held = written_bytes(chunk, file, "jpeg", MOST_JPEG_BYTES)
                require_at_most(held, MOST_CLIP_BYTES, f"bytes of frames of clip {clip_id!r}", file)
            frames = table["frame"].cast(pa.int64()).to_pylist()
            jpegs = table["jpeg"].cast(pa.binary()).to_pylist()
            if None in frames or None in jpegs:
                raise ValueError(f"{file}: clip {clip_id!r} has empty cells")
            return sorted(zip(frames, jpegs, strict=True))
