"""Long sequences of real people with known events: short clips joined, with the cuts hidden from a model.

Clips of actions and clips in which none of them happens differ in size, rate and length, by which a model could tell
them apart without looking at anybody. Here all have one rate, by timestamps, and one canvas; and what is joined as
background gets the size and the length of an action clip of the same sequence. :func:`control` measures what a
classifier that sees nothing but size, rate and length still makes of them: it must be at chance.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.csv_text import write_csv
from ..core.events import BACKGROUND
from ..core.statistics import Interval, bootstrap_interval
from ..core.video import probe, read_timed, write_video
from ..core.video.equal import at_rate, covered, on_canvas

FPS = 10
CANVAS_PX = (480, 320)
NEIGHBOURS = 5
"""Of the control classifier."""
UT_ACTIONS = ("shake hands", "hug", "kick", "point", "punch", "push")
"""Labels 0 to 5 of UT-Interaction; the names of its clips are INDEX_SEQUENCE_LABEL."""
_UT_NAME = re.compile(r"(\d+)_(\d+)_(\d)")


@dataclass(frozen=True)
class ShortClip:
    """A short clip as it comes.

    Attributes:
        source: the recording; sequences are of one source.
        action: name of the class, or :data:`BACKGROUND`.
        size_px: (width, height).
    """

    path: Path
    source: str
    action: str
    size_px: tuple[int, int]
    fps: float
    seconds: float


@dataclass(frozen=True)
class Piece:
    """A part of a sequence: one clip of an action, or clips without actions one after another.

    Attributes:
        action: name of the class, or :data:`BACKGROUND`.
        size_px: (width, height) of the picture on the canvas.
        frames: at :data:`FPS`.
    """

    paths: tuple[Path, ...]
    source: str
    action: str
    size_px: tuple[int, int]
    frames: int


def ut_clips(actions: Path, background: Path) -> list[ShortClip]:
    """The clips of UT-Interaction: a folder of segmented actions, and one of clips of the same places without any.

    Raises:
        ValueError: a name does not match, or a folder holds no AVI.
        VideoError: a clip cannot be read.
    """
    clips = []
    for folder in (actions, background):
        files = sorted(folder.glob("*.avi"))
        if not files:
            raise ValueError(f"{folder} holds no .avi: expected INDEX_SEQUENCE_LABEL.avi")
        for file in files:
            match = _UT_NAME.fullmatch(file.stem)
            if match is None or (folder == actions and int(match[3]) >= len(UT_ACTIONS)):
                raise ValueError(f"{file} does not parse: expected INDEX_SEQUENCE_LABEL.avi with a label of 0 to 5")
            info = probe(file)
            action = UT_ACTIONS[int(match[3])] if folder == actions else BACKGROUND
            clips.append(ShortClip(file, match[2], action, (info.width, info.height), info.fps, info.seconds))
    return clips


def plan_sequences(clips: Sequence[ShortClip], seed: int = 7) -> dict[str, list[Piece]]:
    """Source -> its pieces: its actions in a drawn order, with background before each.

    Of every action, a piece of background has the size and the length; it consists of as many clips of its own source
    as that takes. A source with too few clips without actions gets those that others leave, and if there are none, two
    actions follow each other. Every clip is used once at most. Deterministic.
    """
    acting = sorted((c for c in clips if c.action != BACKGROUND), key=lambda c: c.path)
    free = {
        source: sorted((c for c in clips if c.action == BACKGROUND and c.source == source), key=lambda c: c.path)
        for source in sorted({c.source for c in clips})
    }
    actions = {source: [c for c in acting if c.source == source] for source in sorted({c.source for c in acting})}
    found: dict[str, list[Piece]] = {}
    for source in sorted(actions, key=lambda name: -len(free[name])):
        rng = np.random.default_rng([seed, *source.encode()])
        own = [actions[source][n] for n in rng.permutation(len(actions[source]))]
        idle = [_idle_piece(own[n], source, free) for n in rng.permutation(len(own))]
        pieces = [Piece((c.path,), source, c.action, c.size_px, round(c.seconds * FPS)) for c in own]
        joined = itertools.zip_longest(idle, pieces)
        found[source] = [piece for pair in joined for piece in pair if piece is not None]
    return dict(sorted(found.items(), key=lambda item: item[0]))


def _idle_piece(model: ShortClip, source: str, free: Mapping[str, list[ShortClip]]) -> Piece | None:
    """Background of the size and length of ``model``; takes its clips from ``free``. None if too few are left."""
    wanted = round(model.seconds * FPS)
    places = [source, *sorted(free, key=lambda name: -len(free[name]))]
    for place in places:
        needed, frames = 0, 0
        while needed < len(free[place]) and frames < wanted:
            frames += round(free[place][needed].seconds * FPS)
            needed += 1
        if frames >= wanted:
            taken = [free[place].pop(0) for _ in range(needed)]
            return Piece(tuple(c.path for c in taken), source, BACKGROUND, model.size_px, wanted)
    return None


def frames_of(piece: Piece, canvas_px: tuple[int, int] = CANVAS_PX) -> Iterator[NDArray[np.uint8]]:
    """The frames of a piece, at :data:`FPS`, on the canvas.

    Raises:
        ValueError: its clips have fewer frames than it.
    """
    count = 0
    clips = (at_rate(read_timed(path), FPS) for path in piece.paths)
    for image in itertools.islice(itertools.chain.from_iterable(clips), piece.frames):
        count += 1
        yield on_canvas(covered(image, piece.size_px), canvas_px)
    if count < piece.frames:
        raise ValueError(f"{piece.paths[0]}: {count} frames at {FPS} a second, expected {piece.frames}")


def write_sequences(sequences: Mapping[str, Sequence[Piece]], out: Path) -> pd.DataFrame:
    """Write ``SOURCE.mp4`` of every sequence, and ``events.csv``, a table for ``data.table``, into ``out``.

    Returns:
        The table: video, start_s, end_s, action, source.
    """
    rows = []
    for source, pieces in sequences.items():
        video = f"{source}.mp4"
        write_video(out / video, (image for piece in pieces for image in frames_of(piece)), FPS)
        ends = list(itertools.accumulate(piece.frames for piece in pieces))
        for piece, end in zip(pieces, ends, strict=True):
            if piece.action != BACKGROUND:
                rows.append((video, (end - piece.frames) / FPS, end / FPS, piece.action, source))
    table = pd.DataFrame(rows, columns=["video", "start_s", "end_s", "action", "source"])
    write_csv(table, out / "events.csv")
    return table


def write_pieces(sequences: Mapping[str, Sequence[Piece]], out: Path) -> pd.DataFrame:
    """Write every piece as a video of its own into ``out``, ``table.csv`` for ``data.table``, and ``folds.csv``.

    A source is a fold.

    Returns:
        The table: video, action, source.
    """
    rows = []
    for source, pieces in sequences.items():
        for number, piece in enumerate(pieces):
            video = f"{source}-{number:02}.mp4"
            write_video(out / video, frames_of(piece), FPS)
            rows.append((video, piece.action, source))
    table = pd.DataFrame(rows, columns=["video", "action", "source"])
    write_csv(table, out / "table.csv")
    write_csv(table.rename(columns={"source": "fold"})[["video", "fold"]], out / "folds.csv")
    return table


# --- the control ------------------------------------------------------------------------------------------------------


def control(facts: NDArray[np.float64], acting: NDArray[np.bool_], sources: Sequence[str]) -> Interval:
    """Balanced accuracy with which size, rate and length alone tell actions from background; 0.5 is chance.

    The most frequent answer of the nearest neighbours among other sources, in standardised facts.

    Args:
        facts: (N, F), such as width, height, frames per second and seconds.
        acting: (N,) whether a piece is an action.
        sources: (N,) of each; the interval resamples them.
    """
    names = np.asarray(sources)
    spread = facts.std(0)
    scaled = (facts - facts.mean(0)) / np.where(spread > 0, spread, 1.0)
    distance = np.linalg.norm(scaled[:, None] - scaled[None], axis=2)  # (N, N)
    distance[names[:, None] == names[None]] = np.inf
    right = np.empty(len(facts))
    for n, row in enumerate(distance):
        # all that are as near as the last neighbour count, so that the order of the pieces does not
        near = row <= np.partition(row, NEIGHBOURS - 1)[NEIGHBOURS - 1]
        share = acting[near & np.isfinite(row)].mean()
        right[n] = 0.5 if share == 0.5 else float((share > 0.5) == acting[n])
    return bootstrap_interval(right, acting.astype(np.int64), names)


def control_of_clips(clips: Sequence[ShortClip]) -> Interval:
    """:func:`control` of the clips as they come."""
    facts = np.array([[*clip.size_px, clip.fps, clip.seconds] for clip in clips], np.float64)
    acting = np.array([clip.action != BACKGROUND for clip in clips])
    return control(facts, acting, [clip.source for clip in clips])


def control_of_pieces(sequences: Mapping[str, Sequence[Piece]]) -> Interval:
    """:func:`control` of the pieces of sequences: the size of the picture on the canvas, the rate and the length."""
    pieces = [piece for own in sequences.values() for piece in own]
    facts = np.array([[*piece.size_px, FPS, piece.frames / FPS] for piece in pieces], np.float64)
    acting = np.array([piece.action != BACKGROUND for piece in pieces])
    return control(facts, acting, [piece.source for piece in pieces])
