"""Clips and boxes -> keypoints and windows: crops of many clips share batches, and only results leave the device."""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from .. import video
from ..artifacts import ClipPoses, PoseMeta
from ..device import resolve_device, resolve_precision, tune_allocator
from ..geometry import apply_affine, crop_affine, invert_affine, released_crop_affine
from ..params import EstimateParams
from . import crops, decode, networks
from .taps import TapReader, sample_windows

Item = TypeVar("Item")


@dataclass(frozen=True)
class ClipBoxes:
    """The boxes of one clip: one row per person and frame.

    Attributes:
        frames: (R,) int, frame of each row.
        tracks: (R,) int, rank of the person: 0 is the most prominent.
        boxes_xyxy_px: (R, 4) float, frame pixels.
    """

    frames: NDArray[np.int64]
    tracks: NDArray[np.int64]
    boxes_xyxy_px: NDArray[np.float64]

    @classmethod
    def nobody(cls) -> ClipBoxes:
        """No boxes."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)))


@dataclass(frozen=True)
class ClipSource:
    """A clip to estimate: its frames (RGB, decoded when asked for) and its boxes."""

    clip_id: str
    frames: Callable[[], Iterable[NDArray[np.uint8]]]
    boxes: ClipBoxes


@dataclass(frozen=True)
class FailedClip:
    """A clip that could not be decoded, and why."""

    clip_id: str
    reason: str


@dataclass(frozen=True)
class CropPoses:
    """What the network saw in a batch of N crops; numpy, on the host.

    Attributes:
        keypoints_crop_px: (N, V, 2) float32.
        scores: (N, V) float32 in 0..1.
        windows: tap -> (N, V, W, W, C) float16.
        vectors: (N, V, Lx + Ly) float16, or None.
    """

    keypoints_crop_px: NDArray[np.float32]
    scores: NDArray[np.float32]
    windows: dict[str, NDArray[np.float16]]
    vectors: NDArray[np.float16] | None


class PoseEstimator:
    """A pose network with its taps, ready to run on a device.

    Args:
        params: section ``estimate``.
        device: auto, cpu, cuda or cuda:N.
        precision: float32, bfloat16 or float16; parity is float32 always.
        batch_size: crops per forward pass; by default 16 on CPU and 256 on a GPU. Halved, with a warning, when the GPU
            runs out of memory.

    Raises:
        FileNotFoundError: the weights are missing.
        ValueError: the network, a tap, the window or the weights are wrong.
    """

    def __init__(
        self, params: EstimateParams, device: str = "auto", precision: str = "float32", batch_size: int | None = None
    ) -> None:
        if params.window % 2 == 0:
            raise ValueError(f"estimate.window is {params.window}; expected an odd number")
        self.params = params
        self.spec = networks.network_spec(params.model)
        self.device = resolve_device(device)
        self.released = params.parity != "none"
        self.dtype = torch.float32 if self.released else resolve_precision(precision)
        self.batch_size = batch_size or (256 if self.device.type == "cuda" else 16)
        if params.vectors and self.spec.head != "simcc":
            raise ValueError(f"estimate.vectors needs a SimCC head; {params.model} has heatmaps")
        if self.device.type == "cpu":
            tune_allocator()
        network, weights_digest = networks.load(params.model, params.weights)
        if params.parity == "released-trainbn":
            crop_statistics(network)
        elif not self.released:
            fuse_batch_norms(network)
            network = network.to(memory_format=torch.channels_last)
        self.network = network.to(self.device, self.dtype)
        self._reader = TapReader(self.network, params.taps, self.spec.aliases)
        self.meta = self._describe(weights_digest)

    def _describe(self, weights_digest: str) -> PoseMeta:
        width, height = self.spec.input_size_px
        self(np.zeros((1, height, width, 3), np.uint8))
        shapes = {tap: tuple(value.shape[1:]) for tap, value in self._reader.maps.items()}
        bins = round((width + height) * self.spec.split_ratio) if self.params.vectors else 0
        return PoseMeta(
            model=self.spec.name,
            weights_digest=weights_digest,
            skeleton=self.spec.skeleton,
            input_size_px=self.spec.input_size_px,
            taps={tap: (shapes[tap][0], shapes[tap][1], shapes[tap][2]) for tap in self.params.taps},
            window=self.params.window,
            parity=self.params.parity,
            vectors=bins,
        )

    def frame_to_crop(self, boxes_xyxy_px: NDArray[np.float64], frame_size_px: tuple[int, int]) -> NDArray[np.float64]:
        """(N, 4) boxes in a frame of (width, height) -> (N, 2, 3) affines from frame to crop pixels."""
        if self.released:
            return released_crop_affine(boxes_xyxy_px, frame_size_px, self.spec.input_size_px)
        return crop_affine(boxes_xyxy_px, self.spec.input_size_px, self.params.box_scale)

    def __call__(self, crop_batch: NDArray[np.uint8]) -> CropPoses:
        """Estimate crops (N, height, width, 3), uint8 RGB, N at most what fits the device."""
        try:
            return self._forward(crop_batch)
        except torch.cuda.OutOfMemoryError:
            if len(crop_batch) == 1:
                raise
            self.batch_size = max(1, len(crop_batch) // 2)
            torch.cuda.empty_cache()
        warnings.warn(f"the GPU is out of memory: batches are halved to {self.batch_size} crops", stacklevel=2)
        halves = [self(crop_batch[: self.batch_size]), self(crop_batch[self.batch_size :])]
        joined = {tap: np.concatenate([half.windows[tap] for half in halves]) for tap in halves[0].windows}
        vectors = [half.vectors for half in halves if half.vectors is not None]
        return CropPoses(
            np.concatenate([half.keypoints_crop_px for half in halves]),
            np.concatenate([half.scores for half in halves]),
            joined,
            np.concatenate(vectors) if vectors else None,
        )

    @torch.inference_mode()
    def _forward(self, crop_batch: NDArray[np.uint8]) -> CropPoses:
        raw = torch.from_numpy(crop_batch).to(self.device).permute(0, 3, 1, 2)  # (N, h, w, 3) -> (N, 3, h, w)
        inputs = crops.normalise(raw)
        inputs = inputs.contiguous() if self.released else inputs.contiguous(memory_format=torch.channels_last)
        output = self.network(inputs.to(self.dtype))
        points, scores, vectors = self._decode(output)
        windows = {
            tap: sample_windows(feature_map, points, self.spec.input_size_px, self.params.window, self.released)
            for tap, feature_map in self._reader.maps.items()
        }
        return CropPoses(
            points.cpu().numpy(),
            scores.cpu().numpy(),
            {tap: value.half().cpu().numpy() for tap, value in windows.items()},
            vectors.half().cpu().numpy() if vectors is not None else None,
        )

    def _decode(self, output: tuple[Tensor, Tensor] | Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        if isinstance(output, Tensor):
            points, scores = decode.decode_heatmaps(output, self.spec.input_size_px)
            return points, scores, None
        x, y = output
        points = decode.decode_simcc(x, y, self.spec.split_ratio)
        if self.spec.sigma_bins is None:
            scores = decode.simcc_maximum(x, y)
        else:
            scores = decode.simcc_sharpness(x, y, self.spec.sigma_bins)
        return points, scores, torch.cat([x, y], dim=-1) if self.params.vectors else None

    def estimate_clips(self, sources: Iterable[ClipSource]) -> Iterator[ClipPoses | FailedClip]:
        """Estimate clips, in order; crops of neighbouring clips share batches while a thread decodes ahead.

        A clip with nobody gives one person who is never valid; one that cannot be decoded gives a :class:`FailedClip`.
        """
        open_clips: list[_OpenClip] = []
        batch: list[tuple[_OpenClip, int, int, NDArray[np.uint8]]] = []

        def flush() -> None:
            if batch:
                poses = self(np.stack([crop for _, _, _, crop in batch]))
                for row, (clip, frame, track, _) in enumerate(batch):
                    clip.take(frame, track, poses, row)
                batch.clear()

        for event in read_ahead(self._crops(sources), depth=4 * self.batch_size):
            if isinstance(event, _Begin):
                open_clips.append(_OpenClip(event.clip_id, self.meta))
            elif isinstance(event, _End):
                open_clips[-1].end(event.frames, event.persons, event.error)
            else:
                open_clips[-1].begin_crop(event)
                batch.append((open_clips[-1], event.frame, event.track, event.crop))
                if len(batch) >= self.batch_size:
                    flush()
            while open_clips and open_clips[0].is_whole:
                yield open_clips.pop(0).result()
        flush()
        for clip in open_clips:
            yield clip.result()

    def _crops(self, sources: Iterable[ClipSource]) -> Iterator[_Begin | _Crop | _End]:
        for source in sources:
            yield _Begin(source.clip_id)
            boxes, count, error = source.boxes, 0, ""
            rows = {frame: np.flatnonzero(boxes.frames == frame) for frame in np.unique(boxes.frames).tolist()}
            try:
                for frame, image in enumerate(source.frames()):
                    count += 1
                    if frame not in rows:
                        continue
                    size = (image.shape[1], image.shape[0])
                    affines = self.frame_to_crop(boxes.boxes_xyxy_px[rows[frame]], size)
                    cut = crops.warp_crops(image, affines, self.spec.input_size_px)
                    for row, affine, crop in zip(rows[frame], affines, cut, strict=True):
                        yield _Crop(frame, int(boxes.tracks[row]), affine, crop)
                if count == 0:
                    error = "holds no frame"
            except video.VideoError as problem:
                error = str(problem)
            persons = int(boxes.tracks[boxes.frames < count].max(initial=0)) + 1
            yield _End(count, persons, error)


@dataclass(frozen=True)
class _Begin:
    clip_id: str


@dataclass(frozen=True)
class _Crop:
    frame: int
    track: int
    affine: NDArray[np.float64]
    crop: NDArray[np.uint8]


@dataclass(frozen=True)
class _End:
    frames: int
    persons: int
    error: str


@dataclass
class _OpenClip:
    """Collects a clip's results while its crops are on their way."""

    clip_id: str
    meta: PoseMeta
    affines: dict[tuple[int, int], NDArray[np.float64]] = field(default_factory=dict)
    rows: dict[tuple[int, int], tuple[CropPoses, int]] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    error: str = ""

    def begin_crop(self, crop: _Crop) -> None:
        self.affines[crop.frame, crop.track] = crop.affine

    def take(self, frame: int, track: int, poses: CropPoses, row: int) -> None:
        self.rows[frame, track] = (poses, row)

    def end(self, frames: int, persons: int, error: str) -> None:
        self.size, self.error = (frames, persons), error

    @property
    def is_whole(self) -> bool:
        return self.size is not None and len(self.rows) == len(self.affines)

    def result(self) -> ClipPoses | FailedClip:
        if self.error or self.size is None:
            return FailedClip(self.clip_id, self.error or "was not read to its end")
        frames, persons = self.size
        joints, window = self.meta.skeleton.num_joints, self.meta.window
        keypoints = np.zeros((frames, persons, joints, 2), np.float32)
        scores = np.zeros((frames, persons, joints), np.float32)
        affines = np.zeros((frames, persons, 2, 3), np.float32)
        valid = np.zeros((frames, persons), bool)
        windows = {
            tap: np.zeros((frames, persons, joints, window, window, channels), np.float16)
            for tap, (channels, _, _) in self.meta.taps.items()
        }
        vectors = np.zeros((frames, persons, joints, self.meta.vectors), np.float16) if self.meta.vectors else None
        for (frame, track), (poses, row) in self.rows.items():
            affine = self.affines[frame, track]
            keypoints[frame, track] = apply_affine(invert_affine(affine), poses.keypoints_crop_px[row])
            scores[frame, track] = poses.scores[row]
            affines[frame, track] = affine
            valid[frame, track] = True
            for tap, values in windows.items():
                values[frame, track] = poses.windows[tap][row]
            if vectors is not None and poses.vectors is not None:
                vectors[frame, track] = poses.vectors[row]
        return ClipPoses(self.clip_id, keypoints, scores, affines, valid, windows, vectors)


def crop_statistics(network: nn.Module) -> None:
    """Make batch norms use each crop's own statistics, in place.

    The released extractor runs batch norm in training mode on single crops, which is instance norm with the batch
    norm's scale and shift; so written, crops can share a batch.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                norm = nn.InstanceNorm2d(child.num_features, eps=child.eps, affine=True)
                with torch.no_grad():
                    norm.weight.copy_(child.weight)
                    norm.bias.copy_(child.bias)
                setattr(parent, name, norm)


def fuse_batch_norms(network: nn.Module) -> None:
    """Fold each batch norm into the convolution registered just before it, in place; the network must be in eval mode.

    Raises:
        ValueError: a batch norm does not follow a convolution of its width.
    """
    for parent in list(network.modules()):
        before: nn.Module | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                if not isinstance(before, nn.Conv2d | nn.ConvTranspose2d) or before.out_channels != child.num_features:
                    raise ValueError(f"batch norm {name!r} of {type(parent).__name__} does not follow a convolution")
                if child.running_mean is None or child.running_var is None:
                    raise ValueError(f"batch norm {name!r} of {type(parent).__name__} has no running statistics")
                before.weight, before.bias = fuse_conv_bn_weights(
                    before.weight,
                    before.bias,
                    child.running_mean,
                    child.running_var,
                    child.eps,
                    child.weight,
                    child.bias,
                    transpose=isinstance(before, nn.ConvTranspose2d),
                )
                setattr(parent, name, nn.Identity())
            before = child


def read_ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Iterate ``items`` in a thread, at most ``depth`` ahead; its exceptions are raised here."""
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stop = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not stop.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
                return
            except queue.Full:
                continue

    def produce() -> None:
        try:
            for item in items:
                put("item", item)
                if stop.is_set():
                    return
            put("end", None)
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, which raises it
            put("error", error)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stop.set()
        thread.join()
