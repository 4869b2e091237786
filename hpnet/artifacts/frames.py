"""Person frames: Parquet shards of JPEG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


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
            shard = pq.ParquetFile(file)
            missing = {"clip_id", "frame", "jpeg"} - set(shard.schema_arrow.names)
            if missing:
                raise ValueError(f"{file} lacks column {min(missing)!r}: it is damaged; run `hpnet detect` again")
            for group in range(shard.num_row_groups):
                ids = shard.read_row_group(group, columns=["clip_id"])["clip_id"].to_pylist()
                self._where.update(dict.fromkeys(ids, (file, group)))
                self._counts.update(ids)

    @staticmethod
    def write(file: Path, clips: Iterable[tuple[str, Sequence[tuple[int, bytes]]]]) -> None:
        """Write one shard: per clip one row group of (frame, jpeg)."""
        schema = pa.schema([("clip_id", pa.string()), ("frame", pa.int32()), ("jpeg", pa.binary())])
        with pq.ParquetWriter(file, schema, compression="none") as writer:
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
        table = pq.ParquetFile(file).read_row_group(group)
        return sorted(zip(table["frame"].to_pylist(), table["jpeg"].to_pylist(), strict=True))
