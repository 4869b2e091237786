"""Short looping previews of clips: a strip of frames that the page steps through.

A strip is one JPEG picture with the frames side by side, and CSS moves it. So a preview can stop for readers who want
no motion, prints its first frame, and needs only a few kilobytes.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..artifacts.poses import ClipPoses
from ..artifacts.scores import Scores
from ..artifacts.videos import stretches
from ..core.stretch import Stretch
from ..core.video import VideoError, probe, read_frames, read_timed
from ..core.video.equal import at_rate
from .collect import Collected
from .figures import PERSON_COLOURS, Image
from .results import correct

FRAMES = 8
SIZE_PX = (128, 96)
SHEET_ACROSS = 12
"""Tiles of a sheet side by side."""
QUALITY = 55
LARGEST_TOTAL_BYTES = 5_500_000
"""Bytes of all strips before base64; clips that do not fit are listed without a strip."""
LEAST_SCORE = 0.2


def make_strips(collected: Collected, test: Scores) -> tuple[dict[str, str], int]:
    """clip_id -> strip as base64 JPEG, mistakes first, up to the maximum size; and the number of unreadable videos."""
    assert collected.clips is not None
    path_of = dict(zip(collected.clips.table.clip_id, collected.clips.table.path.astype(str), strict=True))
    parts = stretches(collected.clips.table)
    strips: dict[str, str] = {}
    total = unreadable = 0
    for row in preview_order(test.labels, correct(test)):
        clip = test.clip_ids[row]
        try:
            frames = strip_frames(collected.folder / path_of[clip], parts.get(clip))
        except VideoError:
            unreadable += 1
            continue
        poses = None
        if collected.poses is not None and clip in collected.poses.index.index:
            poses = collected.poses.load(clip, taps=[])
        edges = collected.poses.meta.skeleton.edges if collected.poses is not None else ()
        encoded = encode_strip(draw_strip(list(frames.values()), poses, edges, list(frames)))
        total += len(encoded)
        if total > LARGEST_TOTAL_BYTES:
            break
        strips[clip] = base64.b64encode(encoded).decode("ascii")
    return strips, unreadable


def preview_order(labels: NDArray[np.int64], right: NDArray[np.bool_]) -> list[int]:
    """Rows of the clips: the mistakes, then the right ones, a clip of every class in turn."""
    by_class: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(right):
        by_class[int(labels[row])].append(int(row))
    turns = max((len(rows) for rows in by_class.values()), default=0)
    taken = [rows[turn] for turn in range(turns) for _, rows in sorted(by_class.items()) if turn < len(rows)]
    return [int(row) for row in np.flatnonzero(~right)] + taken


def strip_frames(path: Path, stretch: Stretch | None = None) -> dict[int, Image]:
    """The frames of a clip that its strip shows: frame number -> RGB (H, W, 3). No others are held.

    Raises:
        VideoError: the video cannot be read.
    """
    chosen = set(np.linspace(0, probe(path, stretch).frames - 1, FRAMES).round().astype(int).tolist())
    return {number: frame for number, frame in enumerate(read_frames(path, stretch=stretch)) if number in chosen}


def sheet_of(path: Path, every_s: float) -> tuple[Image, int, int]:
    """Frames of a long video as tiles in rows: the first, and the one that is shown every so many seconds after it.

    Returns:
        The picture, how many tiles a row has, and how many tiles there are.

    Raises:
        VideoError: the video cannot be read, or has no frame.
    """
    tiles = [_tile(frame)[0] for frame in at_rate(read_timed(path), 1 / every_s)]
    if not tiles:
        raise VideoError(f"{path} has no frame")
    rows = -(-len(tiles) // SHEET_ACROSS)
    blank = [np.zeros_like(tiles[0])] * (rows * SHEET_ACROSS - len(tiles))
    # (R x A, H, W, 3) -> (R, A, H, W, 3) -> (R, H, A, W, 3) -> (R x H, A x W, 3)
    sheet = np.stack([*tiles, *blank]).reshape(rows, SHEET_ACROSS, *tiles[0].shape).transpose(0, 2, 1, 3, 4)
    return sheet.reshape(rows * SIZE_PX[1], SHEET_ACROSS * SIZE_PX[0], 3), SHEET_ACROSS, len(tiles)


def draw_strip(
    frames: Sequence[Image],
    poses: ClipPoses | None,
    edges: Sequence[tuple[int, int]],
    numbers: Sequence[int] | None = None,
) -> Image:
    """Up to :data:`FRAMES` frames of a clip (H, W, 3), evenly spaced, with the skeletons, side by side.

    A short clip repeats its last frame, so that every strip has the same shape. ``numbers`` say which frames of the
    clip these are; by default all, from the first.
    """
    chosen = np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)
    tiles = []
    for place in chosen:
        frame = place if numbers is None else numbers[place]
        tile, small, factor = _tile(frames[place])
        if poses is not None and frame < len(poses.valid):
            _draw_people(small, poses, int(frame), edges, factor)
        tiles.append(tile)
    return np.concatenate(tiles, axis=1)


def _tile(image: Image) -> tuple[Image, Image, float]:
    """A frame in the middle of a tile of :data:`SIZE_PX`, the part of the tile that it fills, and its scale."""
    width, height = SIZE_PX
    factor = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    tile = np.zeros((height, width, 3), np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    small = tile[top : top + size[1], left : left + size[0]]
    small[:] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return tile, small, factor


def _draw_people(image: Image, poses: ClipPoses, frame: int, edges: Sequence[tuple[int, int]], factor: float) -> None:
    for person in np.flatnonzero(poses.valid[frame]):
        colour = PERSON_COLOURS[int(person) % len(PERSON_COLOURS)]
        rgb = tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
        joints = poses.keypoints_px[frame, person] * factor
        seen = poses.scores[frame, person] >= LEAST_SCORE
        for a, b in edges:
            if seen[a] and seen[b]:
                ends = [(round(float(x) * 8), round(float(y) * 8)) for x, y in (joints[a], joints[b])]
                cv2.line(image, ends[0], ends[1], rgb, 1, cv2.LINE_AA, shift=3)


def encode_strip(strip: Image) -> bytes:
    """A strip as JPEG, which encodes many times faster than WebP and is little larger."""
    done, buffer = cv2.imencode(".jpg", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError(f"a strip of shape {strip.shape} cannot be encoded as jpeg")
    return buffer.tobytes()
