"""The maps of a pose network that are read (taps), and reading them at the joints (windows)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RGB = "rgb"
"""The tap that is the input crop itself, normalised, as a map of three channels (Table XI)."""


def split_tap(tap: str) -> tuple[str, float]:
    """``blocks.12@1.5`` -> ("blocks.12", 1.5): the map, and how many times as wide as usual the crop is that it sees.

    Raises:
        ValueError: what follows the @ is no number from 1 to 4.
    """
    name, at, wide = tap.partition("@")
    try:
        times = float(wide) if at else 1.0
    except ValueError:
        times = float("nan")
    if not 1 <= times <= 4:
        raise ValueError(f"estimate.taps: {tap!r}: expected MAP or MAP@TIMES with a crop 1 to 4 times as wide")
    return name, times


def resolve_tap(network: nn.Module, tap: str, aliases: Mapping[str, str]) -> str:
    """The dotted module path of a tap: an alias, or a path (``stage4[0]`` and ``stage4.0`` are the same).

    Raises:
        ValueError: no such module; the message lists the aliases, and the paths one step below the longest prefix that
            exists.
    """
    path = re.sub(r"\[(\d+)\]", r".\1", aliases.get(tap, tap))
    modules = dict(network.named_modules())
    if path in modules and path:
        return path
    prefix = path
    while prefix and prefix not in modules:
        prefix = prefix.rpartition(".")[0]
    depth = prefix.count(".") + 2 if prefix else 2
    below = [m for m in modules if m.count(".") < depth and m.startswith(f"{prefix}." if prefix else "backbone")]
    named = f"aliases {', '.join(aliases)}; " if aliases else "no aliases for this network; "
    raise ValueError(f"estimate.taps: {tap!r} is no map of this network: {named}rgb; module paths {', '.join(below)}")


class TapReader:
    """Reads the tapped maps of a network's latest forward pass. A context manager: hooks are removed on exit."""

    def __init__(self, network: nn.Module, taps: Sequence[str], aliases: Mapping[str, str]) -> None:
        self.maps: dict[str, Tensor] = {}
        self._inputs = [tap for tap in taps if split_tap(tap)[0] == RGB]
        self._handles = [network.register_forward_pre_hook(self._keep_input)] if self._inputs else []
        modules = dict(network.named_modules())
        for tap in taps:
            name, _ = split_tap(tap)
            if name != RGB:
                module = modules[resolve_tap(network, name, aliases)]
                self._handles.append(module.register_forward_hook(self._keep(tap)))

    def __enter__(self) -> TapReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _keep_input(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.maps |= dict.fromkeys(self._inputs, inputs[0])

    def _keep(self, tap: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or output.ndim != 4:
                shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise ValueError(f"estimate.taps: {tap!r} gives {shape}, expected one map (N, C, h, w): tap inside it")
            self.maps[tap] = output

        return hook


def sample_windows(
    feature_map: Tensor,
    points_crop_px: Tensor,
    input_size_px: tuple[int, int],
    window: int,
    released: bool = False,
    cell_centre: float = 0.5,
) -> Tensor:
    """Bilinear samples of a map at joints and at their neighbours one map cell apart (the reading in Eq. 3).

    By default, a map cell covers an equal share of the crop: cell j of w has its centre at crop coordinate
    (j + 1/2) W / w - 1/2, so pooling a map of coordinates returns the coordinates. Beyond the centres of the outermost
    cells the map continues with its border value. ``released`` is the released code's reading, x / (W/2) - 1 with
    ``align_corners=True`` and zeros outside, which shifts by up to half a cell.

    Args:
        feature_map: (N, C, h, w).
        points_crop_px: (N, V, 2), x, y in crop pixels.
        input_size_px: (W, H) of the crop.
        window: odd side of the window, in cells.
        cell_centre: where in its share of the crop a cell looks: 0.5 at the middle, 0 at the first pixel, as
            :attr:`hpnet.estimate.families.NetworkSpec.cell_centre` says.

    Returns:
        (N, V, window, window, C) float32; first window axis vertical.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"estimate.window is {window}; expected an odd number from 1")
    count, channels, height, width = feature_map.shape
    joints = points_crop_px.shape[1]
    size = torch.tensor([width, height], device=feature_map.device, dtype=torch.float32)
    crop = torch.tensor(input_size_px, device=feature_map.device, dtype=torch.float32)
    points = points_crop_px.to(size)
    # (N, V, 2)
    cells = points * (size - 1) / crop if released else (points + cell_centre) * size / crop - cell_centre
    steps = torch.arange(window, device=size.device, dtype=torch.float32) - window // 2
    # (W, W, 2) as x, y; rows vertical
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1).flip(-1)
    grid = (2 * (cells[:, :, None, None] + offsets) + 1) / size - 1  # (N, V, W, W, 2)
    sampled = F.grid_sample(
        feature_map.float().contiguous(),
        grid.reshape(count, joints, window * window, 2),
        mode="bilinear",
        padding_mode="zeros" if released else "border",
        align_corners=False,
    )  # (N, C, V, W * W)
    # (N, C, V, W * W) -> (N, V, W * W, C) -> (N, V, W, W, C)
    return sampled.permute(0, 2, 3, 1).reshape(count, joints, window, window, channels)
