"""A pose network on its device: crops -> keypoints and windows. Only results leave the device."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ..artifacts.poses import PoseMeta, mirrored_tap
from ..core.allocator import tune_allocator
from ..core.cuda_graphs import Replay
from ..core.device import resolve_device, resolve_precision
from ..models.movenet import Heads, decode_single
from ..work.halving import in_halves
from . import crops, decode, networks
from .backends import ON_DEVICE, Running, require_gpu
from .batches import CropPoses, Estimator, joined
from .params import EstimateParams
from .taps import TapReader, sample_windows, split_tap

READERS = 16
"""Maximum number of decoding threads per GPU."""


class PoseEstimator(Estimator):
    """A pose network of torch with its taps, on a device; attributes as of :class:`Estimator`.

    Args:
        params: section ``estimate``.
        device: auto, cpu, cuda or cuda:N.
        precision: float32, bfloat16 or float16; parity is float32 always.
        batch_size: crops per forward pass; by default 16 on CPU and 256 on a GPU. Halved, with a warning, when the GPU
            runs out of memory.
        compiled: use ``torch.compile`` for the network; takes minutes at the start.
        on_device: crops are cut on the device, out of frames that are uploaded whole or are there already.

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
        on_device: bool = False,
    ) -> None:
        if params.window % 2 == 0:
            raise ValueError(f"estimate.window is {params.window}; expected an odd number")
        self.params, self.on_device = params, on_device
        self.spec = params.spec()
        self.device = resolve_device(device)
        self.released = params.parity != "none"
        self.dtype = torch.float32 if self.released else resolve_precision(precision)
        on_gpu = self.device.type == "cuda"
        self.batch_size = batch_size or (256 if on_gpu else 16)
        self.readers = min(READERS, _own_cores()) if on_gpu else 1
        self.ahead = 1 if on_gpu else 0
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
        if on_device and self.released:
            raise ValueError(
                f"estimate.parity {params.parity!r} reads crops as OpenCV cuts them: leave --on-device out"
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

    def crops_of(self, frame: Any, frame_to_crop: NDArray[np.float64]) -> Any:
        """See :meth:`Estimator.crops_of`; on the device where crops are cut there."""
        if not self.on_device:
            return super().crops_of(frame, frame_to_crop)
        if not isinstance(frame, Tensor):
            on_host = torch.from_numpy(frame)
            frame = (on_host.pin_memory() if self.device.type == "cuda" else on_host).to(self.device, non_blocking=True)
        with torch.inference_mode():
            return crops.cut_on_device(frame, frame_to_crop, self.spec.input_size_px, self.widths)

    def submit(self, crop_batch: NDArray[np.uint8] | Tensor) -> Callable[[], CropPoses]:
        """Start to estimate crops, like :meth:`__call__`; the returned function waits for the result.

        A GPU computes in the background; on CPU the result is ready at once.

        Raises:
            RuntimeError: the GPU has no memory even for a single crop.
        """
        parts = in_halves(self._launch, crop_batch, ("crop", self.params.model), self._shrink)
        return parts[0] if len(parts) == 1 else lambda: joined([part() for part in parts])

    def _shrink(self, crop_count: int) -> None:
        self.batch_size = min(self.batch_size, crop_count)

    @torch.inference_mode()
    def _launch(self, crop_batch: NDArray[np.uint8] | Tensor) -> Callable[[], CropPoses]:
        given = crop_batch if isinstance(crop_batch, Tensor) else torch.from_numpy(crop_batch)
        raw = given if given.ndim == 5 else given[:, None]
        if raw.shape[1] != len(self.widths):
            raise ValueError(f"crops of {raw.shape[1]} widths, expected {len(self.widths)} ({self.widths})")
        if raw.device.type != self.device.type:
            raw = raw.pin_memory().to(self.device, non_blocking=True)
        points, scores, windows, vectors = self.compute(raw)
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

    def compute(self, raw: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor], Tensor | None]:
        """Crops (N, S, h, w, 3) uint8 on the device -> joints (N, V, 2) in crop pixels, scores (N, V), windows of each
        tap (N, V, W, W, C), and coordinate vectors (N, V, Lx + Ly) or None, all float."""
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
        return points, scores, windows, vectors

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

    def _stacked(self, pixels: list[Any]) -> Any:
        """Crops as one array (N, S, h, w, 3); for a GPU in pinned memory, or where they were cut."""
        if self.on_device:
            return torch.stack(pixels)
        if self.device.type != "cuda":
            return np.stack(pixels)
        pinned = torch.empty((len(pixels), *pixels[0].shape), dtype=torch.uint8, pin_memory=True)
        return np.stack(pixels, out=pinned.numpy())


def open_estimator(params: EstimateParams, running: Running) -> PoseEstimator:
    """See :func:`hpnet.estimate.backends.open_estimator`."""
    require_gpu(running)
    on_device = running.on_device != ON_DEVICE[0]
    return PoseEstimator(params, running.device, running.precision, running.batch, running.compiled, on_device)


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
