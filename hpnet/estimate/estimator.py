"""Clips and boxes -> keypoints and windows. Crops of many clips share batches, and only results leave the device."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ..artifacts.poses import ClipPoses, PoseMeta, mirrored_tap
from ..core import video
from ..core.cuda_graphs import Replay
from ..core.device import resolve_device, resolve_precision, tune_allocator
from ..core.geometry import apply_affine, crop_affine, invert_affine, released_crop_affine, widen
from ..models.movenet import Heads, decode_single
from ..work.halving import in_halves
from . import crops, decode, networks
from .params import EstimateParams
from .reading import Weighed, read_streams_ahead
from .taps import TapReader, sample_windows, split_tap

READERS = 16
"""Maximum number of decoding threads per GPU."""


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
    """A clip to estimate.

    Attributes:
        frames: returns its frames, RGB, decoded on demand.
        memory_bytes: memory that decoding needs; 0 if that is little.
    """

    clip_id: str
    frames: Callable[[], Iterable[NDArray[np.uint8]]]
    boxes: ClipBoxes
    memory_bytes: int = 0


@dataclass(frozen=True)
class FailedClip:
    """A clip that could not be decoded, and the reason."""

    clip_id: str
    reason: str


@dataclass(frozen=True)
class CropPoses:
    """Results of the network for a batch of N crops; numpy, on the host.

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
        compiled: use ``torch.compile`` for the network; takes minutes at the start.

    Attributes:
        readers: number of clips that :meth:`estimate_clips` decodes at the same time, with one thread each.
        data_wait_s: seconds that :meth:`estimate_clips` has waited for frames so far.

    Raises:
        FileNotFoundError: the weights are missing.
        ValueError: the network, a tap, the window or the weights are wrong.
    """

    def __init__(
        self,
        params: EstimateParams,
        device: str = "auto",
        precision: str = "float32",
        batch_size: int | None = None,
        compiled: bool = False,
    ) -> None:
        if params.window % 2 == 0:
            raise ValueError(f"estimate.window is {params.window}; expected an odd number")
        self.params = params
        self.spec = params.spec()
        self.device = resolve_device(device)
        self.released = params.parity != "none"
        self.dtype = torch.float32 if self.released else resolve_precision(precision)
        on_gpu = self.device.type == "cuda"
        self.batch_size = batch_size or (256 if on_gpu else 16)
        self.readers = min(READERS, _own_cores()) if on_gpu else 1
        self.data_wait_s = 0.0
        if params.vectors and self.spec.head != "simcc":
            raise ValueError(f"estimate.vectors needs a SimCC head; {params.model} has heatmaps")
        if self.released and self.spec.head == "centre":
            raise ValueError(f"estimate.parity {params.parity!r} is not for {params.model}: set it to 'none'")
        wide = sorted({split_tap(tap)[1] for tap in params.taps} - {1.0})
        if wide and self.released:
            raise ValueError(f"estimate.parity {params.parity!r} reads no wider crops: leave the taps with @ out")
        if params.mirrored and self.released:
            raise ValueError(
                f"estimate.parity {params.parity!r} reads no mirrored crops: set estimate.mirrored to false"
            )
        if params.cells != "network" and self.released:
            raise ValueError(
                f"estimate.parity {params.parity!r} reads as the released code does: set estimate.cells to 'network'"
            )
        self.cell_centre = networks.cell_centre(self.spec, params.cells)
        self.widths = (1.0, *wide)
        tune_allocator()  # decoded frames are large blocks too
        network, weights_digest = networks.load(self.spec, params.weights)
        if params.parity == "released-trainbn":
            crop_statistics(network)
        elif not self.released:
            fuse_batch_norms(network)
            network = network.to(memory_format=torch.channels_last)
        self.network = network.to(self.device, self.dtype)
        self._reader = TapReader(self.network, params.taps, self.spec.aliases)
        if compiled:
            self.network = torch.compile(self.network)  # type: ignore[assignment]
        self._replay = Replay(self._compute) if on_gpu and not self.released else None
        self.meta = self._describe(weights_digest)

    def _describe(self, weights_digest: str) -> PoseMeta:
        width, height = self.spec.input_size_px
        self(np.zeros((1, len(self.widths), height, width, 3), np.uint8))
        shapes = {tap: tuple(value.shape[1:]) for tap, value in self._reader.maps.items()}
        bins = round((width + height) * self.spec.split_ratio) if self.params.vectors else 0
        return PoseMeta(
            model=self.spec.name,
            weights_digest=weights_digest,
            skeleton=self.spec.skeleton,
            input_size_px=self.spec.input_size_px,
            taps={
                name: (shapes[tap][0], shapes[tap][1], shapes[tap][2])
                for naming in self._namings
                for tap, name in zip(self.params.taps, map(naming, self.params.taps), strict=True)
            },
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
        """Estimate crops (N, height, width, 3), uint8 RGB; where taps see wider crops, (N, S, height, width, 3).

        S crops of each person: as wide as each of ``widths``, of which the first is 1.
        """
        return self.submit(crop_batch)()

    def submit(self, crop_batch: NDArray[np.uint8]) -> Callable[[], CropPoses]:
        """Start to estimate crops, like :meth:`__call__`; the returned function waits for the result.

        A GPU computes in the background; on CPU the result is ready at once.

        Raises:
            RuntimeError: the GPU has no memory even for a single crop.
        """
        parts = in_halves(self._launch, crop_batch, ("crop", self.params.model), self._shrink)
        return parts[0] if len(parts) == 1 else lambda: _joined([part() for part in parts])

    def _shrink(self, crop_count: int) -> None:
        self.batch_size = min(self.batch_size, crop_count)

    @torch.inference_mode()
    def _launch(self, crop_batch: NDArray[np.uint8]) -> Callable[[], CropPoses]:
        raw = torch.from_numpy(crop_batch if crop_batch.ndim == 5 else crop_batch[:, None])
        if raw.shape[1] != len(self.widths):
            raise ValueError(f"crops of {raw.shape[1]} widths, expected {len(self.widths)} ({self.widths})")
        if self.device.type == "cuda":
            raw = raw.pin_memory().to(self.device, non_blocking=True)
        output, maps = self._seen(raw[:, 0])
        points, scores, vectors = self._decode(output)
        windows = self._windows(maps, points, 1.0)
        for index, times in enumerate(self.widths[1:], 1):
            _, maps = self._seen(raw[:, index])
            windows |= self._windows(maps, points, times)
        if self.params.mirrored:
            other = self._mirrored_points(points)
            for index, times in enumerate(self.widths):
                _, maps = self._seen(raw[:, index].flip(2))  # (N, h, w, 3), columns in the opposite order
                found = self._windows(maps, other, times)
                windows |= {mirrored_tap(tap): value for tap, value in found.items()}
        windows = {naming(tap): windows[naming(tap)] for naming in self._namings for tap in self.params.taps}
        # results of a GPU go to pinned memory, so that the copy does not block
        on_host = [
            value.to("cpu", non_blocking=True)
            for value in (points, scores, *(value.half() for value in windows.values()))
        ]
        vectors_on_host = vectors.half().to("cpu", non_blocking=True) if vectors is not None else None
        done = torch.cuda.Event() if self.device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if done is not None:
            done.record(torch.cuda.current_stream(self.device))

        def collect() -> CropPoses:
            if done is not None:
                done.synchronize()
            arrays = [value.numpy() for value in on_host]
            return CropPoses(
                arrays[0],
                arrays[1],
                dict(zip(windows, arrays[2:], strict=True)),
                vectors_on_host.numpy() if vectors_on_host is not None else None,
            )

        return collect

    def _seen(self, raw: Tensor) -> tuple[Any, dict[str, Tensor]]:
        """What the network says of crops (N, h, w, 3) uint8 on the device, and its tapped maps."""
        inputs = crops.normalise(raw.permute(0, 3, 1, 2), self.spec.mean, self.spec.sd)  # (N, h, w, 3) -> (N, 3, h, w)
        inputs = inputs.contiguous() if self.released else inputs.contiguous(memory_format=torch.channels_last)
        # a GPU's TensorFloat-32 is too coarse for parity
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=not self.released):
            return self.forward(inputs.to(self.dtype))

    def _windows(self, maps: dict[str, Tensor], points_crop_px: Tensor, times: float) -> dict[str, Tensor]:
        """Windows of the taps that see crops ``times`` as wide, at joints (N, V, 2) of the usual crops."""
        middle = (torch.tensor(self.spec.input_size_px, device=points_crop_px.device) - 1) / 2
        points = (points_crop_px - middle) / times + middle
        if times == 1:
            points = points_crop_px  # to the last bit
        size, window, centre = self.spec.input_size_px, self.params.window, self.cell_centre
        return {
            tap: sample_windows(maps[tap], points, size, window, self.released, centre)
            for tap in self.params.taps
            if split_tap(tap)[1] == times
        }

    @property
    def _namings(self) -> tuple[Callable[[str], str], ...]:
        """From a tap to the names of its windows: as it is, and of the mirrored crop."""
        return (str, mirrored_tap) if self.params.mirrored else (str,)

    def _mirrored_points(self, points_crop_px: Tensor) -> Tensor:
        """Joints (N, V, 2) of crops -> the joints that have these names in the mirrored crops, (N, V, 2)."""
        other = points_crop_px[:, list(self.spec.skeleton.mirror)]
        width = self.spec.input_size_px[0]
        return torch.stack([width - 1 - other[..., 0], other[..., 1]], -1)

    def forward(self, inputs: Tensor) -> tuple[Any, dict[str, Tensor]]:
        """The network's output and its tapped maps for normalised crops (N, 3, height, width) on the device.

        A GPU replays whole batches as a CUDA graph; use their results before the next call.
        """
        if self._replay is not None and len(inputs) == self.batch_size:
            return self._replay(inputs)
        return self._compute(inputs)

    def _compute(self, inputs: Tensor) -> tuple[Any, dict[str, Tensor]]:
        return self.network(inputs), dict(self._reader.maps)

    def _decode(self, output: tuple[Tensor, Tensor] | Tensor | Heads) -> tuple[Tensor, Tensor, Tensor | None]:
        if isinstance(output, Tensor):
            points, scores = decode.decode_heatmaps(output, self.spec.input_size_px)
            return points, scores, None
        if isinstance(output, dict):
            return *decode_single(output), None
        x, y = output
        points = decode.decode_simcc(x, y, self.spec.split_ratio)
        if self.spec.sigma_bins is None:
            scores = decode.simcc_maximum(x, y)
        else:
            scores = decode.simcc_sharpness(x, y, self.spec.sigma_bins)
        return points, scores, torch.cat([x, y], dim=-1) if self.params.vectors else None

    def estimate_clips(self, sources: Iterable[ClipSource]) -> Iterator[ClipPoses | FailedClip]:
        """Estimate clips, in order; crops of neighbouring clips share batches while threads decode ahead.

        A clip without people gives one person who is never valid. A clip that cannot be decoded gives a
        :class:`FailedClip`.
        """
        open_clips: deque[_OpenClip] = deque()
        batch: list[tuple[_OpenClip, _Crop]] = []
        in_flight: deque[tuple[list[tuple[_OpenClip, _Crop]], Callable[[], CropPoses]]] = deque()
        ahead = 1 if self.device.type == "cuda" else 0  # batches that compute while the next one is prepared

        def launch() -> None:
            in_flight.append((list(batch), self.submit(self._stacked([crop.pixels for _, crop in batch]))))
            batch.clear()

        def land(most: int) -> None:
            while len(in_flight) > most:
                rows, result = in_flight.popleft()
                poses = result()
                for row, (clip, crop) in enumerate(rows):
                    clip.take(crop, poses, row)

        depth = max(4 * self.batch_size, 64 * self.readers)
        streams = (Weighed(self._crops(source), source.memory_bytes) for source in sources)
        events = read_streams_ahead(streams, self.readers, depth)
        for event in self._timed(events):
            if isinstance(event, _Begin):
                open_clips.append(_OpenClip(event.clip_id, self.meta))
            elif isinstance(event, _End):
                open_clips[-1].size, open_clips[-1].error = (event.frames, event.persons), event.error
            else:
                open_clips[-1].expected += 1
                batch.append((open_clips[-1], event))
                if len(batch) >= self.batch_size:
                    launch()
                    land(ahead)
            while open_clips and open_clips[0].is_whole:
                yield open_clips.popleft().result()
        if batch:
            launch()
        land(0)
        for clip in open_clips:
            yield clip.result()

    def _stacked(self, pixels: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Crops as one array (N, S, h, w, 3); for a GPU in pinned memory."""
        if self.device.type != "cuda":
            return np.stack(pixels)
        pinned = torch.empty((len(pixels), *pixels[0].shape), dtype=torch.uint8, pin_memory=True)
        return np.stack(pixels, out=pinned.numpy())

    def _timed(self, events: Iterator[_Begin | _Crop | _End]) -> Iterator[_Begin | _Crop | _End]:
        """The same events; measures the time spent waiting for them."""
        while True:
            started = time.perf_counter()
            event = next(events, None)
            self.data_wait_s += time.perf_counter() - started
            if event is None:
                return
            yield event

    def _crops(self, source: ClipSource) -> Iterator[_Begin | _Crop | _End]:
        yield _Begin(source.clip_id)
        boxes, count, error = source.boxes, 0, ""
        rows = {frame: np.flatnonzero(boxes.frames == frame) for frame in np.unique(boxes.frames).tolist()}
        try:
            for frame, image in enumerate(source.frames()):
                count += 1
                if frame not in rows:
                    continue
                size = (image.shape[1], image.shape[0])
                outside = _outside(boxes, rows[frame], size)
                if outside:
                    error = f"frame {frame} {outside}"
                    break
                affines = self.frame_to_crop(boxes.boxes_xyxy_px[rows[frame]], size)
                size_px = self.spec.input_size_px
                by_width = [crops.warp_crops(image, widen(affines, size_px, times), size_px) for times in self.widths]
                cut = np.stack(by_width, axis=1)  # S of (N, h, w, 3) -> (N, S, h, w, 3)
                for row, affine, crop in zip(rows[frame], affines, cut, strict=True):
                    yield _Crop(frame, int(boxes.tracks[row]), affine, crop)
            if count == 0:
                error = "holds no frame"
            elif not error and boxes.frames.max(initial=0) >= count:
                error = (
                    f"has boxes up to frame {boxes.frames.max()}, but {count} frames: the boxes are of another video"
                )
        except video.VideoError as problem:
            error = str(problem)
        persons = int(boxes.tracks[boxes.frames < count].max(initial=0)) + 1
        yield _End(count, persons, error)


def _outside(boxes: ClipBoxes, rows: NDArray[np.intp], frame_size_px: tuple[int, int]) -> str:
    """An error message for the first box outside the frame; empty if there is none."""
    for row in rows:
        x1, y1, x2, y2 = boxes.boxes_xyxy_px[row]
        width, height = frame_size_px
        if min(x2, width) <= max(x1, 0) or min(y2, height) <= max(y1, 0):
            return (
                f"track {boxes.tracks[row]}: box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) has no area inside the "
                f"{width} x {height} frame: correct the boxes"
            )
    return ""


@dataclass(frozen=True)
class _Begin:
    clip_id: str


@dataclass(frozen=True)
class _Crop:
    frame: int
    track: int
    affine: NDArray[np.float64]
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class _End:
    frames: int
    persons: int
    error: str


@dataclass(frozen=True)
class _Taken:
    """A crop's result: ``row`` of the batch ``poses``."""

    frame: int
    track: int
    affine: NDArray[np.float64]
    poses: CropPoses
    row: int


@dataclass
class _OpenClip:
    """Collects a clip's results while its crops are being estimated."""

    clip_id: str
    meta: PoseMeta
    expected: int = 0
    taken: list[_Taken] = field(default_factory=list)
    size: tuple[int, int] | None = None
    error: str = ""

    def take(self, crop: _Crop, poses: CropPoses, row: int) -> None:
        self.taken.append(_Taken(crop.frame, crop.track, crop.affine, poses, row))

    @property
    def is_whole(self) -> bool:
        return self.size is not None and len(self.taken) == self.expected

    def result(self) -> ClipPoses | FailedClip:
        if self.error or self.size is None:
            return FailedClip(self.clip_id, self.error or "was not read to its end")
        frames, persons = self.size
        joints, window = self.meta.skeleton.num_joints, self.meta.window
        clip = ClipPoses(
            self.clip_id,
            np.zeros((frames, persons, joints, 2), np.float32),
            np.zeros((frames, persons, joints), np.float32),
            np.zeros((frames, persons, 2, 3), np.float32),
            np.zeros((frames, persons), bool),
            {
                tap: np.zeros((frames, persons, joints, window, window, channels), np.float16)
                for tap, (channels, _, _) in self.meta.taps.items()
            },
            np.zeros((frames, persons, joints, self.meta.vectors), np.float16) if self.meta.vectors else None,
        )
        if not self.taken:
            return clip
        taken = self.taken
        where = np.array([one.frame for one in taken]), np.array([one.track for one in taken])
        affines = np.stack([one.affine for one in taken])  # (N, 2, 3)
        keypoints = np.stack([one.poses.keypoints_crop_px[one.row] for one in taken])  # (N, V, 2)
        clip.keypoints_px[where] = apply_affine(invert_affine(affines), keypoints)
        clip.scores[where] = np.stack([one.poses.scores[one.row] for one in taken])
        clip.frame_to_crop[where] = affines
        clip.valid[where] = True
        for tap, values in clip.windows.items():
            values[where] = np.stack([one.poses.windows[tap][one.row] for one in taken])
        if clip.vectors is not None:
            for one in taken:
                assert one.poses.vectors is not None
                clip.vectors[one.frame, one.track] = one.poses.vectors[one.row]
        return clip


def _joined(parts: list[CropPoses]) -> CropPoses:
    """Several batches joined into one."""
    vectors = [part.vectors for part in parts if part.vectors is not None]
    return CropPoses(
        np.concatenate([part.keypoints_crop_px for part in parts]),
        np.concatenate([part.scores for part in parts]),
        {tap: np.concatenate([part.windows[tap] for part in parts]) for tap in parts[0].windows},
        np.concatenate(vectors) if vectors else None,
    )


def _own_cores() -> int:
    """Cores for this process: OMP_NUM_THREADS if it is one of several workers, else all cores."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def crop_statistics(network: nn.Module) -> None:
    """Make batch norms use the statistics of each crop, in place.

    The released extractor runs batch norm in training mode on single crops. This equals instance norm with the batch
    norm's scale and shift, and crops can then share a batch.
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
