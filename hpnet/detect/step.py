"""The detect step over clips: decode, detect in batches across clips, track, rank, cut person frames, measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..artifacts.boxes import BOX_COLUMNS, Boxes
from ..artifacts.files import read_json_as, write_json
from ..artifacts.frames import PersonFrames
from ..artifacts.truth import load_truth
from ..artifacts.videos import Videos, stretches
from ..core.metrics import average_precision, count_accuracy
from ..core.stretch import Stretch
from ..core.suitability import score_figures
from ..core.video import VideoError, probe, read_frames
from ..weights.cards import usual_score
from ..weights.graphs import GRAPHS, device_for
from ..work.console import note, progress
from ..work.failures import refuse_many
from ..work.halving import in_halves
from ..work.locks import held
from ..work.processes import device_workers
from ..work.shards import ShardItem, clips_per_shard, content_digest, link_tree, run_shards, stretch_digest
from .bytetrack import track
from .detector import Detection, Detector, open_detector, weights_digest
from .params import DetectParams
from .person_frames import cut_out, encode_jpeg, person_cuts
from .tracking import Track, interpolate, rank_tracks

NO_PERSON = "nobody was found"
KEEP_BYTES = 256 << 20
"""Clips up to this total size stay decoded until their person frames are cut; others are decoded again."""
SHARD_SIZE = 32
"""Clips per shard where clips are many."""
BATCH_BYTES = 256 << 20
"""Maximum bytes of a batch of frames, for every ``batch``."""

_CORNERS = ["x1", "y1", "x2", "y2"]
_UNKNOWN_FPS = 30.0  # for containers without a rate; only the tracker's memory depends on it


# --- one shard --------------------------------------------------------------------------------------------------------


@dataclass
class _Clip:
    """A clip that is being processed."""

    clip_id: str
    path: Path
    fps: float
    stretch: Stretch | None = None
    size_px: tuple[int, int] = (0, 0)
    frames: int = 0
    kept: list[NDArray[np.uint8]] | None = field(default_factory=list)
    steps: list[int] = field(default_factory=list)  # frames that are detected on
    detections: list[Detection] = field(default_factory=list)
    people: list[Track] = field(default_factory=list)  # all persistent ones, best first

    @property
    def kept_bytes(self) -> int:
        """Memory of the frames that are kept; they are of one size."""
        return len(self.kept) * self.kept[0].nbytes if self.kept else 0


@dataclass
class DetectWork:
    """Work for :func:`hpnet.work.shards.run_shards`: people, boxes and person frames of a shard of clips.

    Writes boxes.parquet and failed.json (see :class:`hpnet.artifacts.boxes.Boxes`), frames.parquet, and people.json:
    the number of persistent tracks of each clip, before the best ``params.persons`` are kept.

    Args:
        params: section ``detect``.
        device, precision: see :mod:`hpnet.core.device`.
        batch: frames per call of the detector, taken across clips; halved, with a warning, when the GPU runs out of
            memory.
        given: use this detector; None: build the one that ``params.model`` names.
        graphs: see :func:`hpnet.detect.detector.open_detector`.
    """

    params: DetectParams
    device: str = "auto"
    precision: str = "float32"
    batch: int = 32
    given: Detector | None = None
    graphs: Path = Path(".work/graphs")
    _built: Detector | None = field(default=None, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": None}

    def __call__(self, items: Sequence[ShardItem], out: Path) -> None:
        """Write the shard's files into ``out``."""
        failed: dict[str, str] = {}
        rows: list[pd.DataFrame] = []
        people: dict[str, int] = {}
        frames: list[tuple[str, list[tuple[int, bytes]]]] = []
        for clip in self._detected(items, failed):
            self._find_people(clip)
            try:
                jpegs = self._person_frames(clip)
            except VideoError as error:
                failed[clip.clip_id] = str(error)
                continue
            frames.append((clip.clip_id, jpegs))
            people[clip.clip_id] = len(clip.people)
            chosen = clip.people[: self.params.persons]
            rows += [_rows(clip.clip_id, number, person) for number, person in enumerate(chosen)]
            if not chosen:
                failed[clip.clip_id] = NO_PERSON
        Boxes(_table(rows), failed).save(out)
        PersonFrames.write(out / "frames.parquet", frames)
        write_json(out / "people.json", people)

    @property
    def _detector(self) -> Detector:
        if self.given is not None:
            return self.given
        if self._built is None:
            self._built = open_detector(self.params, self.device, self.precision, self.graphs)
            assert self._built is not None  # asked for where the stage detects
        return self._built

    def _detected(self, items: Sequence[ShardItem], failed: dict[str, str]) -> Iterable[_Clip]:
        """Decode clips in turn and yield each when detection has run on all its steps; batches run across clips."""
        waiting: list[tuple[_Clip, NDArray[np.uint8]]] = []
        decoded: list[_Clip] = []
        for item in items:
            try:
                if item.path is None or item.fault:
                    raise VideoError(item.fault or "has no file")
                fps = probe(item.path, item.stretch).fps or _UNKNOWN_FPS
                clip = _Clip(item.clip_id, item.path, fps, item.stretch)
                self._decode(clip, waiting, KEEP_BYTES - sum(other.kept_bytes for other in decoded))
            except VideoError as error:
                failed[item.clip_id] = str(error)
                waiting[:] = [(other, frame) for other, frame in waiting if other.clip_id != item.clip_id]
                continue
            decoded.append(clip)
            while decoded and len(decoded[0].detections) == len(decoded[0].steps):
                yield decoded.pop(0)
        self._flush(waiting)
        yield from decoded

    def _decode(self, clip: _Clip, waiting: list[tuple[_Clip, NDArray[np.uint8]]], room_bytes: int) -> None:
        last: NDArray[np.uint8] | None = None
        for index, frame in enumerate(read_frames(clip.path, stretch=clip.stretch)):
            clip.frames, clip.size_px, last = index + 1, (frame.shape[1], frame.shape[0]), frame
            if clip.kept is not None and clip.kept_bytes + frame.nbytes <= room_bytes:
                clip.kept.append(frame)
            else:
                clip.kept = None
            if self.params.enabled and index % self.params.stride == 0:
                self._push(clip, index, frame, waiting)
        if self.params.enabled and last is not None and (clip.frames - 1) % self.params.stride:
            self._push(clip, clip.frames - 1, last, waiting)

    def _push(
        self, clip: _Clip, index: int, frame: NDArray[np.uint8], waiting: list[tuple[_Clip, NDArray[np.uint8]]]
    ) -> None:
        if waiting and waiting[0][1].shape != frame.shape:
            self._flush(waiting)
        clip.steps.append(index)
        waiting.append((clip, frame))
        if len(waiting) >= min(self.batch, max(1, BATCH_BYTES // frame.nbytes)):
            self._flush(waiting)

    def _flush(self, waiting: list[tuple[_Clip, NDArray[np.uint8]]]) -> None:
        if waiting:
            found = self._detect(np.stack([frame for _, frame in waiting]))
            for (clip, _), detection in zip(waiting, found, strict=True):
                clip.detections.append(detection)
            waiting.clear()

    def _detect(self, frames: NDArray[np.uint8]) -> list[Detection]:
        what = ("frame", self.params.model)
        parts = in_halves(self._detector.detect, frames, what, self._shrink)
        return [detection for part in parts for detection in part]

    def _shrink(self, frames: int) -> None:
        self.batch = min(self.batch, frames)

    def _find_people(self, clip: _Clip) -> None:
        if not self.params.enabled:
            whole = np.array([0, 0, *clip.size_px], dtype=np.float32)
            boxes = np.tile(whole, (clip.frames, 1))  # (T, 4)
            clip.people = [Track(np.arange(clip.frames), boxes, np.ones(clip.frames, np.float32))]
            return
        rate_fps = clip.fps / self.params.stride
        tracks = track(clip.detections, clip.steps, rate_fps=rate_fps, confidence=self.params.confidence)
        clip.people = rank_tracks([interpolate(t) for t in tracks], clip.frames, clip.size_px, clip.fps)

    def _person_frames(self, clip: _Clip) -> list[tuple[int, bytes]]:
        """(frame, jpeg) of the chosen frames."""
        people = clip.people[: self.params.persons]
        areas = person_cuts(people, clip.frames, clip.size_px, self.params).by_frame()
        again = read_frames(clip.path, max(areas) + 1, stretch=clip.stretch)
        source = clip.kept if clip.kept is not None else again
        return [
            (index, encode_jpeg(cut_out(frame, areas[index], self.params.frame_size)))
            for index, frame in enumerate(source)
            if index in areas
        ]


def _rows(clip_id: str, number: int, person: Track) -> pd.DataFrame:
    columns = dict(zip(("x1", "y1", "x2", "y2"), person.boxes_xyxy_px.T, strict=True))
    return pd.DataFrame(
        {"clip_id": clip_id, "frame": person.frames, "track": number, **columns, "score": person.scores}
    )


def _table(rows: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=list(BOX_COLUMNS))


# --- all shards -------------------------------------------------------------------------------------------------------


def video_items(videos: Videos) -> list[ShardItem]:
    """One shard item for each usable clip, with the digest of its file as it is now.

    Files that changed since videos.csv was made are reported in one line.
    """
    usable = videos.usable()
    paths = {str(clip_id): Path(str(path)) for clip_id, path in zip(usable.clip_id, usable.path, strict=True)}
    of_file = {path: content_digest(path) for path in dict.fromkeys(paths.values())}
    digests, parts = {clip_id: of_file[path] for clip_id, path in paths.items()}, stretches(usable)
    items = [
        ShardItem(clip_id, path, stretch_digest(digests[clip_id], parts.get(clip_id)), stretch=parts.get(clip_id))
        for clip_id, path in paths.items()
    ]
    changed = videos.changed(digests)
    if changed:
        note(f"{len(changed)} videos changed since `hpnet data`, such as {paths[changed[0]]}: run it again")
    return items


def detect_key(params: DetectParams, precision: str = "float32") -> dict[str, Any]:
    """Everything that, with the clips, decides the step's result: for :func:`hpnet.work.shards.run_shards`.

    Raises:
        ValueError, FileNotFoundError: ``params.model`` is unknown, or its weights are missing.
    """
    return {
        "detect": params.model_dump(),
        "precision": precision,
        "weights": weights_digest(params.model) if params.enabled else "",
        "code": params.code().digest(),
    }


def merge(parts: Sequence[Path], out: Path) -> Boxes:
    """Join finished shards into a detect folder: boxes.parquet, failed.json, people.json and frames/."""
    loaded = [Boxes.load(part) for part in parts]
    failed = {clip_id: reason for boxes in loaded for clip_id, reason in boxes.failed.items()}
    people = {
        clip_id: count
        for part in parts
        for clip_id, count in read_json_as(part / "people.json", dict[str, int]).items()
    }
    boxes = Boxes(_table([b.table for b in loaded if len(b.table)]), failed)
    boxes.save(out)
    write_json(out / "people.json", people)
    frames = ((part / "frames.parquet", f"frames-{i:05d}.parquet") for i, part in enumerate(parts))
    link_tree(frames, out / "frames", stale="frames-*.parquet")
    return boxes


def detection_metrics(
    boxes: Boxes,
    people: dict[str, int],
    clip_ids: Sequence[str],
    truth: pd.DataFrame | None = None,
    expected: float | None = None,
) -> dict[str, Any]:
    """Figures of the step and, with ``truth``, its accuracy.

    Args:
        boxes: the merged boxes; ``failed`` holds the clips that could not be decoded and those without a person.
        people: persistent tracks per decoded clip.
        clip_ids: all clips of the step.
        truth: clip_id, frame, person, x1, y1, x2, y2 (frame pixels) of true boxes; NaN where a person is out of view.
        expected: the score that the detector usually comes to, see :func:`hpnet.core.suitability.score_figures`.

    Returns:
        clips, boxes, failed (count and reasons), without_person and the figures of ``score_figures``; with
        truth also ap50, over every frame of every clip that has truth (a clip that failed counts as
        misses), and people_count_accuracy, over the decoded clips.
    """
    reasons = Counter(reason for reason in boxes.failed.values() if reason != NO_PERSON)
    without_person = sum(reason == NO_PERSON for reason in boxes.failed.values())
    means = [*boxes.table.groupby("clip_id", sort=False).score.mean(), *[0.0] * without_person]
    result: dict[str, Any] = {
        "clips": len(clip_ids),
        "boxes": len(boxes.table),
        "failed": {"count": sum(reasons.values()), "reasons": dict(sorted(reasons.items()))},
        "without_person": without_person,
        **score_figures(means, expected),
    }
    if truth is not None:
        truth = truth[truth.clip_id.isin(set(clip_ids))].dropna(subset=_CORNERS)
    if truth is None or truth.empty:
        return result
    found = dict(iter(boxes.table.groupby(["clip_id", "frame"], sort=True)))
    nothing = boxes.table.iloc[:0]
    images = [(found.pop(key, nothing), group) for key, group in truth.groupby(["clip_id", "frame"], sort=True)]
    clips_with_truth = set(truth.clip_id)
    images += [(group, truth.iloc[:0]) for key, group in found.items() if key[0] in clips_with_truth]
    result["ap50"] = average_precision(
        [a[_CORNERS].to_numpy(np.float64) for a, _ in images],
        [a["score"].to_numpy(np.float64) for a, _ in images],
        [b[_CORNERS].to_numpy(np.float64) for _, b in images],
    )
    true_people = truth.groupby("clip_id").person.nunique()
    counted = [clip_id for clip_id in true_people.index if clip_id in people]
    if counted:
        result["people_count_accuracy"] = count_accuracy([people[c] for c in counted], true_people[counted].to_numpy())
    return result


# --- the step ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DetectOptions:
    """How the step runs; only the precision affects the result.

    Attributes:
        device, precision: see :mod:`hpnet.core.device`.
        batch: frames per call of the network.
        workers: processes; None: :func:`hpnet.work.processes.device_workers`.
        engine: see :func:`hpnet.work.shards.run_shards`.
    """

    device: str = "auto"
    precision: str = "float32"
    batch: int = 32
    workers: int | None = None
    engine: str = "local"


@dataclass(frozen=True)
class Detected:
    """The result of the step.

    Attributes:
        figures: of :func:`detection_metrics`, as written.
        failed: clip -> reason, for clips that could not be read; clips without a person are not failed.
    """

    figures: dict[str, Any]
    failed: dict[str, str]


def run(
    params: DetectParams,
    source: Path,
    out: Path,
    metrics: Path,
    *,
    max_failed: float,
    work: Path = Path(".work"),
    options: DetectOptions = DetectOptions(),
) -> Detected:
    """Find the people of the clips of a data folder.

    Args:
        source: the data folder; the figures use its truth.parquet, if it exists.
        out: receives boxes.parquet, failed.json, people.json and frames/.
        metrics: receives the figures.
        max_failed: the share of clips that may fail.
        work: the project's folder of finished shards and locks.

    Raises:
        ValueError: more clips failed; the results of the others are written.
        FileNotFoundError: an input is missing.
    """
    with held([out], work / "locks"):
        items = video_items(Videos.load(source))
        device = device_for(params.backend, options.device)
        with progress("detecting", len(items)) as advance:
            parts = run_shards(
                items,
                DetectWork(params, device, options.precision, options.batch, graphs=work.absolute() / GRAPHS),
                stage_dir=work / "detect",
                key=detect_key(params, options.precision),
                shard_size=clips_per_shard(len(items), SHARD_SIZE),
                workers=device_workers(device, options.workers),
                engine=options.engine,
                on_progress=advance,
            )
        boxes = merge(parts, out)
        file = source / "truth.parquet"
        truth = load_truth(file) if file.is_file() else None
        people = read_json_as(out / "people.json", dict[str, int])
        usual = usual_score(params.rated_model)
        figures = detection_metrics(boxes, people, [item.clip_id for item in items], truth, usual)
        write_json(metrics, figures)
        failed = {clip_id: reason for clip_id, reason in boxes.failed.items() if reason != NO_PERSON}
        refuse_many(failed, len(items), max_failed)
        return Detected(figures, failed)
