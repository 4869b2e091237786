"""Writing a trained project as a bundle (:mod:`hpnet.predict.bundle`), and its certificate.

The certificate says by how much answers of the bundle differ from those of torch on some of the project's clips. What
torch found is kept in the bundle, so that it can be checked again on another machine, without torch.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from .. import __version__
from ..artifacts.files import delete_old, read_json_as, readable, write_json, writing
from ..core.streams import MULTIMODAL
from ..core.video import VideoError
from ..estimate.batches import ClipBoxes, ClipSource, FailedClip
from ..estimate.exported import ExportedEstimator
from ..pool.features import clip_features
from ..weights.graphs import RUNTIMES
from ..work.console import one_line
from ..work.shards import file_digest
from .bundle import CARD, DEFAULT_RUNTIME, DETECTOR, FORMAT, OUTPUTS, POSE, STREAMS, TAUGHT, UNKNOWN, Contents
from .model import Model
from .recognise import Prediction
from .seeing import clip_boxes
from .windows import Window, every_window

if TYPE_CHECKING:
    from torch import nn

    from ..params import Params
    from .project import TrainedProject

CERTIFICATE, FOUND = "certificate.json", "certificate.safetensors"
MOST_DIFFERENCE = 1e-3
"""Of :class:`Difference`; an export that differs by more is refused."""
MOST_FROM_VIDEO = 0.05
"""Of ``from_video``: a box that differs in its last digit can move a joint whose map has two maxima."""
ALLOWED = f"{MOST_DIFFERENCE:g}, or {MOST_FROM_VIDEO:g} from the video on"
NEEDED = ("av", "click", "lap", "numpy", "opencv-python", "pydantic", "pyyaml", "rich", "safetensors")
"""Packages by which a bundle predicts, besides what runs its graphs."""
WITHOUT_WINDOWS = {"opencv-python": "opencv-python-headless"}
"""The same package, smaller, under another name."""
Found = dict[str, NDArray[Any]]
"""Of one clip: crops (R, 7), which are the window, the frame, the person and the corners of the box; keypoints
(R, V, 2), features (P, T, V, C), probabilities (W, K) of each window's people in these crops, from_video (A, K)."""


@dataclass(frozen=True)
class Difference:
    """The greatest differences over clips.

    Attributes:
        keypoints_px: in pixels of the video, of the same crops.
        features: of the same crops, as a share of the clip's greatest feature.
        probabilities: of the same crops, of any action.
        from_video: probabilities of any answer and action, with the boxes that each finds itself.
    """

    keypoints_px: float
    features: float
    probabilities: float
    from_video: float

    @property
    def is_small(self) -> bool:
        """Whether it is none that would be seen."""
        most = max(self.keypoints_px, self.features, self.probabilities)
        return most <= MOST_DIFFERENCE and self.from_video <= MOST_FROM_VIDEO

    def __str__(self) -> str:
        shares = f"features {self.features:.1e}, probabilities {self.probabilities:.1e}"
        return f"keypoints {self.keypoints_px:.1e} px, {shares} ({self.from_video:.1e} from the video on)"


@dataclass(frozen=True)
class Certificate:
    """What was compared: file -> digest of each clip, and the result."""

    clips: dict[str, str]
    difference: Difference


def write_bundle(project: Path, out: Path, streams: Sequence[str] | None, count: int) -> Certificate:
    """Write a project as a bundle into ``out``, and compare both.

    Args:
        streams: only these; None: all with a weight above 0.
        count: clips that are compared.

    Raises:
        FileNotFoundError: something of the project, or every clip, is missing.
        ModuleNotFoundError: onnx or onnxruntime is not installed.
        ValueError: a network cannot be in a bundle, or the bundle's answers differ by more than
            :data:`ALLOWED`.
    """
    model = Model(project, "cpu", streams)
    trained: TrainedProject = model.project  # type: ignore[assignment]
    trained.require_videos()
    clips = _clips(trained, count)
    out.mkdir(parents=True, exist_ok=True)
    detector = _write_networks(model, out)
    if trained.taught is not None:
        trained.taught.save(out / TAUGHT)
    if trained.project.unknown_file.is_file():
        with writing(out / UNKNOWN) as file:
            file.write_bytes(trained.project.unknown_file.read_bytes())
    write_json(out / CARD, asdict(_contents(model, detector)))
    needed = sorted((*NEEDED, _runtime(trained.params)))
    lines = [f"{WITHOUT_WINDOWS.get(name, name)}=={importlib.metadata.version(name)}" for name in needed]
    delete_old(out / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = [_found(model, clip) for clip in clips]
    with writing(out / FOUND) as file:
        named = {f"{n}.{name}": values for n, one in enumerate(found) for name, values in one.items()}
        save_file({name: np.ascontiguousarray(values) for name, values in named.items()}, file)
    certificate = Certificate({str(clip): file_digest(clip) for clip in clips}, _difference(Model(out), clips, found))
    write_json(out / CERTIFICATE, asdict(certificate))
    delete_old(out / "README.md").write_text(_readme(model, certificate), encoding="utf-8")
    if not certificate.difference.is_small:
        raise ValueError(f"{out} differs from torch by more than {ALLOWED}: {certificate.difference}")
    return certificate


def verify(bundle: Path) -> Certificate:
    """Compare a bundle with what torch found when it was written, on the clips that are still there.

    Raises:
        FileNotFoundError: there is no certificate, or none of its clips.
        ValueError: a file is damaged, or the answers differ by more than :data:`ALLOWED`.
    """
    written = read_json_as(bundle / CERTIFICATE, Certificate, "export the project again")
    stored = load_file(readable(bundle / FOUND))
    there = [
        (n, Path(clip))
        for n, (clip, digest) in enumerate(written.clips.items())
        if Path(clip).is_file() and file_digest(Path(clip)) == digest
    ]
    if not there:
        raise FileNotFoundError(f"none of the {len(written.clips)} clips of {bundle / CERTIFICATE} is there any more")
    found = [{name.partition(".")[2]: v for name, v in stored.items() if name.startswith(f"{n}.")} for n, _ in there]
    clips = [clip for _, clip in there]
    difference = _difference(Model(bundle), clips, found)
    if not difference.is_small:
        raise ValueError(f"{bundle} differs from torch by more than {ALLOWED}: {difference}")
    return Certificate({str(clip): written.clips[str(clip)] for clip in clips}, difference)


def _write_networks(model: Model, out: Path) -> tuple[str, int]:
    """The graphs of detector, pose network and streams; returns the detector's kind and its class person."""
    import torch

    from ..detect.graph import has_graph, write_detector_graph
    from ..estimate.graph import write_pose_graph
    from ..weights.graph_files import write_graph
    from .graphs import StreamGraph

    trained: TrainedProject = model.project  # type: ignore[assignment]
    detect, detector = trained.params.detect, ("", 0)
    if has_graph(detect):
        detector = write_detector_graph(detect, out / DETECTOR)
    estimator = model.recogniser.eyes.estimator
    if isinstance(estimator, ExportedEstimator):
        with writing(out / POSE) as file:
            shutil.copyfile(estimator.graph.path, file)
    else:
        write_pose_graph(estimator, out / POSE)  # type: ignore[arg-type]
    for stream in trained.readers:
        sizes = trained.cards[stream]["sizes"]
        shape = 3, int(sizes["in_channels"]), trained.frames, int(sizes["num_joints"]), int(sizes["num_persons"])
        given = {"features": torch.randn(shape), "valid": torch.ones(3, shape[4], dtype=torch.bool)}
        reader: nn.Module = StreamGraph(trained.reader(stream))
        file = out / STREAMS / f"{stream}.onnx"
        write_graph(reader, given, OUTPUTS, file, {name: {0: "clips"} for name in given})
    if MULTIMODAL in trained.streams:
        _write_multimodal(trained, out / STREAMS / f"{MULTIMODAL}.onnx")
    return detector


def _write_multimodal(trained: TrainedProject, file: Path) -> None:
    """The graph of the stream that reads person frames too, for one clip at a time."""
    import torch

    from ..weights.graph_files import write_graph
    from .graphs import MultimodalGraph

    network = trained.multimodal
    config, size_px = network.config, network.video.image_size
    shape = 1, config.in_channels, trained.frames, config.skeleton.num_joints, config.num_persons
    given = {
        "features": torch.randn(shape),
        "valid": torch.ones(1, shape[4], dtype=torch.bool),
        "frames": torch.zeros(1, trained.wants_frames, 3, size_px, size_px, dtype=torch.uint8),
    }
    write_graph(MultimodalGraph(network), given, OUTPUTS[:1], file, {})


def _contents(model: Model, detector: tuple[str, int]) -> Contents:
    trained: TrainedProject = model.project  # type: ignore[assignment]
    runtime = _runtime(trained.params)
    bare = {"weights": None, "int8": None, "backend": runtime}  # both are in the graph
    params = trained.params.model_copy(
        update={
            "detect": trained.params.detect.model_copy(update={"backend": runtime}),
            "estimate": trained.params.estimate.model_copy(update=bare),
        }
    )
    estimator = model.recogniser.eyes.estimator
    median_s, longest_s = trained.training_seconds()
    plain, learnt = trained.event_rules(median_s)
    used = {stream: weight for stream, weight in trained.fusion["weights"].items() if weight}
    return Contents(
        FORMAT,
        __version__,
        {name: getattr(params, name).model_dump(mode="json") for name in ("detect", "estimate", "pool", "fuse")},
        {**trained.fusion, "weights": used},
        trained.streams,
        {stream: trained.slots(stream) for stream in trained.streams},
        tuple(trained.classes),
        trained.features.to_json(),
        trained.frames,
        estimator.meta.to_json(),
        estimator.widths,
        *detector,
        (median_s, longest_s),
        trained.training_fps(),
        tuple(np.flatnonzero(trained.mutual).tolist()),
        plain.to_json(),
        None if learnt is None else learnt.to_json(),
        (trained.wants_frames, trained.multimodal.video.image_size) if trained.wants_frames else (0, 0),
    )


def _runtime(params: Params) -> str:
    """What runs the graphs of a bundle: what runs the project's, or onnxruntime instead of torch."""
    return params.estimate.backend if params.estimate.backend in RUNTIMES else DEFAULT_RUNTIME


def _clips(trained: TrainedProject, count: int) -> list[Path]:
    """Videos of the project that are there, evenly over its table.

    Raises:
        FileNotFoundError: there is none.
    """
    from ..artifacts.clips import Clips

    root = trained.project.root
    table = Clips.load(trained.project.data).usable()
    whole = table[table.start_s.isna()] if "start_s" in table.columns else table
    files = [file for name in whole.path for file in [root / str(name)] if file.is_file()]
    if not files:
        raise FileNotFoundError(f"no video of {trained.project.data} is there to compare the bundle on")
    return [files[n].resolve() for n in np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)]


def _windows(model: Model, clip: Path) -> Iterator[Window]:
    def fail(video: str, reason: str) -> None:
        raise VideoError(f"{one_line(video)}: {reason}")

    return every_window([clip], model.cutting(), fail)


def _answers(model: Model, clip: Path) -> list[Prediction]:
    """Of every window of a clip."""

    def fail(video: str, reason: str) -> None:
        raise VideoError(f"{one_line(video)}: {reason}")

    return list(model.recogniser.predict(_windows(model, clip), fail))


def _probabilities(model: Model, parts: Sequence[Prediction]) -> NDArray[np.float64]:
    """(A, K) of all answers."""
    return np.stack([np.zeros(len(model.names)), *(answer.probabilities for part in parts for answer in part.answers)])


def _seen(model: Model, clip: Path, crops: NDArray[np.float64]) -> Found:
    """Keypoints and features of people whose boxes are given: in the same crops, that is."""
    estimator = model.recogniser.eyes.estimator
    sources = []
    for number, window in enumerate(_windows(model, clip)):
        rows = crops[crops[:, 0] == number]
        boxes = ClipBoxes(rows[:, 1].astype(np.int64), rows[:, 2].astype(np.int64), rows[:, 3:])
        images = [image for _, image in window.frames]
        sources.append(ClipSource(str(clip), partial(iter, images), boxes))
    keypoints: list[NDArray[Any]] = [np.zeros((0, estimator.meta.skeleton.num_joints, 2))]
    features: list[NDArray[Any]] = []
    probabilities: list[NDArray[Any]] = []
    for poses in estimator.estimate_clips(sources):
        if isinstance(poses, FailedClip):
            raise VideoError(f"{one_line(poses.clip_id)}: {poses.reason}")
        keypoints.append(poses.keypoints_px[poses.valid])
        features.append(clip_features(poses, model.project.params.pool, estimator.meta))
        probabilities.append(model.recogniser.together(poses))
    return {
        "keypoints": np.concatenate(keypoints),
        "features": np.concatenate(features),
        "probabilities": np.stack(probabilities),
    }


def _found(model: Model, clip: Path) -> Found:
    """What torch finds in a clip."""
    parts = _answers(model, clip)
    rows = [np.zeros((0, 7))]
    for number, part in enumerate(parts):
        boxes = clip_boxes(part.seen, model.project.params.estimate.frames)
        where = np.full(len(boxes.frames), number)
        rows.append(np.column_stack([where, boxes.frames, boxes.tracks, boxes.boxes_xyxy_px]))
    crops = np.concatenate(rows)
    return {"crops": crops, "from_video": _probabilities(model, parts), **_seen(model, clip, crops)}


def _difference(model: Model, clips: Sequence[Path], found: Sequence[Found]) -> Difference:
    """Of a bundle to what torch found.

    Raises:
        ValueError: other people, or another number of answers.
    """
    greatest = np.zeros(4)
    for clip, before in zip(clips, found, strict=True):
        now = {"from_video": _probabilities(model, _answers(model, clip)), **_seen(model, clip, before["crops"])}
        if any(now[name].shape != before[name].shape for name in now):
            raise ValueError(f"{clip}: other people are found than by torch: this detector cannot be in a bundle")
        apart = {name: float(np.abs(now[name] - before[name]).max(initial=0)) for name in now}
        scale = max(float(np.abs(before["features"]).max(initial=0)), 1e-9)
        apart["features"] /= scale
        names = ("keypoints", "features", "probabilities", "from_video")
        greatest = np.maximum(greatest, [apart[name] for name in names])
    return Difference(*greatest.tolist())


def _readme(model: Model, certificate: Certificate) -> str:
    """What the bundle is, for who finds it."""
    return f"""# A bundle of hpnet {__version__}

It recognises {len(model.names)} actions in videos, without torch: {", ".join(model.names)}.
Streams: {", ".join(model.streams)}. Pose network: {model.recogniser.pose_meta.model}. Detector: \
{model.project.params.detect.rated_model or "none"}.

    pip install --no-deps hpnet
    pip install -r requirements.txt
    hpnet predict --project . clip.mp4

In Python: `hpnet.load("THIS FOLDER")("clip.mp4")`. On {len(certificate.clips)} clips its answers differed from those of
torch by at most: {certificate.difference}. `hpnet export bundle THIS_FOLDER --verify` checks that again.

hpnet is AGPL-3.0-or-later. MoveNet's weights are Google's (Apache-2.0).
"""
