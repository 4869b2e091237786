"""Device and precision."""

from __future__ import annotations

import re

import torch

PRECISIONS: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def resolve_device(name: str = "auto") -> torch.device:
    """The device of a name: ``auto`` (the GPU if there is one), cpu, cuda or cuda:N.

    Raises:
        ValueError: the device is unknown or missing.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    known = re.fullmatch(r"cpu|cuda(:(?P<number>0|[1-9][0-9]*))?", name)
    if known is None:
        raise ValueError(f"--device {name!r} is unknown; use auto, cpu, cuda or cuda:N")
    if name != "cpu" and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: torch {torch.__version__} sees no GPU here; use --device cpu")
    if known["number"] is not None and int(known["number"]) >= (count := torch.cuda.device_count()):
        seen = "1 GPU" if count == 1 else f"{count} GPUs"
        raise ValueError(f"--device {name}: torch sees {seen} here, the last is cuda:{count - 1}; use that or auto")
    return torch.device(name)


def resolve_precision(name: str) -> torch.dtype:
    """A dtype by name; an unknown name lists the choices."""
    if name not in PRECISIONS:
        raise ValueError(f"--precision {name!r} is unknown; choose from {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16: a GPU from Ampere on, a CPU with AVX512-BF16 or AMX-BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # every CPU with AMX-BF16 has AVX512-BF16 too
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def training_precision(name: str, device: torch.device) -> str:
    """The precision that ``--precision`` means on a device: ``auto`` is bfloat16 where that is fast, else float32."""
    if name == "auto":
        return "bfloat16" if has_fast_bfloat16(device) else "float32"
    return name
