"""Crops of people by which a pose network is set to compute in 8-bit integers: what its layers see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..core.reading import Damaged
from .files import readable, writing

AGAIN = "run `hpnet weights calibrate` again"


@dataclass(frozen=True)
class CalibrationCrops:
    """Crops of training clips.

    Attributes:
        model: the pose network that they were cut for.
        crops: (N, S, h, w, 3) uint8 RGB, S crops of each person, as :class:`hpnet.estimate.batches.Estimator` reads.
    """

    model: str
    crops: NDArray[np.uint8]

    def save(self, file: Path) -> None:
        """Write them as safetensors."""
        with writing(file) as fresh:
            save_file({"crops": np.ascontiguousarray(self.crops)}, fresh, {"model": self.model})

    @classmethod
    def load(cls, file: Path) -> CalibrationCrops:
        """Read them.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not what :meth:`save` writes.
        """
        try:
            with safe_open(readable(file), "numpy") as opened:
                crops, model = opened.get_tensor("crops"), (opened.metadata() or {})["model"]
        except (SafetensorError, KeyError) as error:
            raise Damaged(f"{file} holds no crops for 8-bit integers ({error}): {AGAIN}") from None
        if crops.ndim != 5 or crops.dtype != np.uint8 or not len(crops):
            raise Damaged(f"{file}: crops are {crops.dtype} {crops.shape}, expected uint8 (N, S, h, w, 3): {AGAIN}")
        return cls(model, crops)

    def for_network(self, model: str, shape: Sequence[int], source: str) -> NDArray[np.uint8]:
        """The crops (N, S, h, w, 3) as a network reads them; those of fewer widths where it reads fewer.

        Args:
            shape: (S, h, w, 3) that the network reads.

        Raises:
            ValueError: they were cut for another network; names both.
        """
        chosen = self.crops[:, : shape[0]]
        if (self.model, chosen.shape[1:]) != (model, tuple(shape)):
            raise ValueError(
                f"estimate.int8: {source} has crops {self.crops.shape[1:]} for {self.model}, expected {tuple(shape)} "
                f"for {model}: {AGAIN}"
            )
        return chosen
