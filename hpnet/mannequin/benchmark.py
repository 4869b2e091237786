"""The built-in benchmark: which clips exist, what each shows, and writing them as videos with their ground truth.

A clip is a performance (set-up, subject, repetition, action) seen by one camera. Everything in it derives from
``params.seed`` and its own ids, so it is the same whichever other clips exist, and however many workers render it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from ..artifacts.files import delete_old
from ..artifacts.videos import VIDEO_COLUMNS
from ..core.video import write_video
from ..work.processes import Died, Workers, run, run_here
from ..work.shards import file_digest
from .actions import ACTIONS, TWO_PERSON, Act
from .corruption import corrupt
from .people import PARTNER_OFFSET, person, stream
from .posture import Clock
from .render import GroundTruth, render_with_truth
from .scene import Camera, Scene

CAMERA_ANGLES_DEG = (45.0, 0.0, -45.0)
"""Azimuth of C001, C002 and C003 as in NTU RGB+D: 0 sees a person who faces +x from the front."""
ROOM_SEEDS = 10_000
"""Rooms of the benchmark have seeds below this, rooms for pretraining above."""
TRUTH_COLUMNS = ("clip_id", "frame", "person", "x1", "y1", "x2", "y2", "keypoints", "visible")


class Sizes(Protocol):
    """What decides the benchmark, such as :class:`hpnet.data.params.DataParams`.

    ``subjects``, ``cameras``, ``setups``: how many; ``repetitions``: of each action by each subject; ``frames``,
    ``fps``, ``width`` and ``height`` (pixels): of each clip; ``corruption``: see :mod:`hpnet.mannequin.corruption`.
    """

    @property
    def seed(self) -> int: ...
    @property
    def subjects(self) -> int: ...
    @property
    def cameras(self) -> int: ...
    @property
    def setups(self) -> int: ...
    @property
    def repetitions(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def fps(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def corruption(self) -> str: ...


@dataclass(frozen=True, order=True)
class ClipSpec:
    """One clip: its ids, numbered from 1 as in its name, and its label, from 0."""

    setup: int
    camera: int
    subject: int
    repetition: int
    label: int

    @property
    def clip_id(self) -> str:
        """``S001C001P001R001A001``: set-up, camera, subject, repetition, action."""
        return f"S{self.setup:03}C{self.camera:03}P{self.subject:03}R{self.repetition:03}A{self.label + 1:03}"


def setup_of(subject: int, repetition: int, setups: int) -> int:
    """The set-up, from 1, in which a subject performs: it alternates between subjects and between repetitions."""
    return (subject + repetition) % setups + 1


def plan(params: Sizes) -> list[ClipSpec]:
    """Every clip of the benchmark; the cameras of one performance are neighbours."""
    return [
        ClipSpec(setup_of(subject, repetition, params.setups), camera, subject, repetition, label)
        for repetition in range(1, params.repetitions + 1)
        for subject in range(1, params.subjects + 1)
        for label in range(len(ACTIONS))
        for camera in range(1, params.cameras + 1)
    ]


def perform(spec: ClipSpec, params: Sizes) -> Act:
    """What the people do, placed in the room: the same for every camera."""
    name, action = list(ACTIONS.items())[spec.label]
    ids = (spec.subject, spec.repetition)
    shared = stream(params.seed, f"motion of {action.family}", *ids)
    own = stream(params.seed, f"motion of {name} alone", *ids)
    people = [person(spec.subject + k * PARTNER_OFFSET, spec.setup, params.seed) for k in range(action.persons)]
    act = action.constructor(people, Clock(params.frames, params.fps), shared, own)
    placing = stream(params.seed, f"placing of {action.family}", *ids)
    yaw = float(np.radians(placing.uniform(-25.0, 25.0)))
    if spec.label in TWO_PERSON:
        # Side by side as the frontal camera sees them, either of them on the left.
        yaw = 0.8 * yaw + float(placing.choice((-1.0, 1.0))) * np.pi / 2
    return act.moved(yaw, (float(placing.uniform(-0.15, 0.15)), float(placing.uniform(-0.25, 0.25))))


def camera_of(setup: int, camera: int, seed: int) -> Camera:
    """Where a camera of a set-up stands: it stays there for all clips. Heights and distances differ between set-ups."""
    rng = stream(seed, "camera", setup)
    share = rng.uniform(0.54, 0.62)  # of the frame's height, for a person of 1.72 m
    height = rng.uniform(1.0, 1.9)
    azimuth = np.radians(CAMERA_ANGLES_DEG[camera - 1] + rng.uniform(-4.0, 4.0, len(CAMERA_ANGLES_DEG))[camera - 1])
    fov_deg = 40.0
    distance = 1.72 / share / (2.0 * np.tan(np.radians(fov_deg / 2)))
    target = (0.0, 0.0, float(rng.uniform(0.92, 1.02)))
    across = float(np.sqrt(distance**2 - (height - target[2]) ** 2))
    return Camera(
        position_m=(float(across * np.cos(azimuth)), float(across * np.sin(azimuth)), float(height)),
        target_m=target,
        vertical_fov_deg=fov_deg,
    )


def build_scene(spec: ClipSpec, params: Sizes) -> Scene:
    """Everything a clip shows, ready to render."""
    act = perform(spec, params)
    return Scene(
        performers=act.performers,
        props=act.props,
        room_seed=int(stream(params.seed, "room", spec.setup).integers(ROOM_SEEDS)),
        camera=camera_of(spec.setup, spec.camera, params.seed),
        noise_seed=_noise_seed(spec, params),
        furniture=act.furniture,
    )


def _noise_seed(spec: ClipSpec, params: Sizes) -> int:
    ids = (spec.setup, spec.camera, spec.subject, spec.repetition, spec.label)
    return int(stream(params.seed, "noise", *ids).integers(2**31))


def truth_rows(clip_id: str, truth: GroundTruth) -> pd.DataFrame:
    """Ground truth of a clip as rows: the columns :data:`TRUTH_COLUMNS`, one row per frame and person.

    Boxes (float32) and keypoints (list of 34 float32, x and y interleaved) are in frame pixels; ``visible`` is a list
    of 17 bools.
    """
    frames, persons = truth.keypoints_px.shape[:2]
    where = np.indices((frames, persons)).reshape(2, -1)
    # (T, M, 4) -> (T * M, 4), and likewise below
    boxes = truth.boxes_xyxy_px.reshape(-1, 4).astype(np.float32)
    table = pd.DataFrame({"clip_id": clip_id, "frame": where[0], "person": where[1]})
    for k, column in enumerate(("x1", "y1", "x2", "y2")):
        table[column] = boxes[:, k]
    table["keypoints"] = list(truth.keypoints_px.reshape(frames * persons, -1).astype(np.float32))
    table["visible"] = list(truth.visible.reshape(frames * persons, -1).astype(bool))
    return table


def write_clip(spec: ClipSpec, params: Sizes, folder: Path, corrupted: bool = False) -> pd.DataFrame:
    """Render one clip to ``folder/videos/<clip_id>.mp4`` and return its ground truth as rows."""
    scene = build_scene(spec, params)
    frames, truth = render_with_truth(scene, params.width, params.height)
    if corrupted and params.corruption != "none":
        frames = corrupt(frames, params.corruption, scene.noise_seed)
    write_video(folder / "videos" / f"{spec.clip_id}.mp4", frames, params.fps)
    return truth_rows(spec.clip_id, truth)


def _write(spec: ClipSpec, params: Sizes, folder: Path, corrupt_ids: frozenset[str]) -> pd.DataFrame:
    return write_clip(spec, params, folder, spec.clip_id in corrupt_ids)


def write_benchmark(
    params: Sizes,
    folder: Path,
    workers: int = 1,
    on_progress: Callable[[int], None] | None = None,
    corrupt_ids: Collection[str] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write every clip's video and ``truth.parquet`` under ``folder``.

    Args:
        params: what to render.
        folder: gets ``videos/<clip_id>.mp4`` and ``truth.parquet``.
        workers: processes that render, one thread each. The result does not depend on it.
        on_progress: called with the number of clips just finished.
        corrupt_ids: the clips that get ``params.corruption``; meant for those of the test split.

    Returns:
        The videos (columns of videos.csv) and the ground truth (see :func:`truth_rows`).

    Raises:
        ValueError: ``corrupt_ids`` names a clip that the benchmark does not have.
        RuntimeError: a worker process died.
    """
    specs = plan(params)
    unknown = sorted(set(corrupt_ids) - {spec.clip_id for spec in specs})
    if unknown:
        raise ValueError(f"clip {unknown[0]!r} cannot be corrupted: the benchmark has no such clip; see plan(params)")
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    work = partial(_write, params=params, folder=folder, corrupt_ids=frozenset(corrupt_ids))
    parts: dict[int, pd.DataFrame] = {}
    with closing(run_here(work, specs) if workers <= 1 else run(work, specs, Workers(workers, threads=1))) as done:
        for number, part in done:
            if isinstance(part, Died):
                raise RuntimeError(f"clip {specs[number].clip_id!r} {part.reason}: render with fewer --workers")
            parts[number] = part
            if on_progress is not None:
                on_progress(1)
    truth = pd.concat([parts[number] for number in range(len(specs))], ignore_index=True)
    truth.to_parquet(delete_old(folder / "truth.parquet"), index=False)
    rows = [_described(folder / "videos" / f"{spec.clip_id}.mp4", spec, params) for spec in specs]
    return pd.DataFrame(rows, columns=list(VIDEO_COLUMNS)), truth


def _described(file: Path, spec: ClipSpec, params: Sizes) -> dict[str, object]:
    """A row of videos.csv."""
    return {
        "clip_id": spec.clip_id,
        "path": file.as_posix(),
        "bytes": file.stat().st_size,
        "digest": file_digest(file),
        "width": params.width,
        "height": params.height,
        "fps": float(params.fps),
        "frames": params.frames,
        "seconds": params.frames / params.fps,
        "error": "",
    }
