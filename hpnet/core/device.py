"""Device and precision, and process settings that affect the speed on a CPU."""

from __future__ import annotations

import ctypes
import platform
import re
import sys

import torch

PRECISIONS: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


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
    """Whether bfloat16 is fast on a device: a GPU, or a CPU with instructions for it."""
    return device.type == "cuda" or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())


def tune_allocator() -> None:
    """Keep large freed memory blocks in this process and do not return them to the kernel.

    Otherwise page faults take most of the time of large batches on a CPU. This is the same as glibc's
    MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_ and MALLOC_TOP_PAD_. Other C libraries are not changed.
    """
    if platform.libc_ver()[0] != "glibc" or not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    for option, value in ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, 1 << 30), (_M_TOP_PAD, 64 << 20)):
        libc.mallopt(option, value)
