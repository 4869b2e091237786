"""What a benchmark ran on: a description for its result, and the memory that it took."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any

import torch

SHORT_NUMBERS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""Names that Linux gives to instructions for them."""


def describe_machine() -> dict[str, Any]:
    """Processor, cores and threads used, memory, GPU and versions; no host name, no paths."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "processor": _processor(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "load_at_start": round(load, 1),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def machine_line(machine: dict[str, Any]) -> str:
    """The description as one line of text."""
    gpu = f"{machine['gpu']}; " if machine["gpu"] else ""
    return (
        f"{gpu}{machine['processor']}, {machine['cores']} cores ({machine['threads']} threads used, load "
        f"{machine['load_at_start']} when the run began), {machine['memory_gb']} GB; Python {machine['python']}, "
        f"torch {machine['torch']}"
        + "".join(f", {name} {version}" for name, version in machine.get("packages", {}).items())
        + (f"; {', '.join(machine['instructions'])}" if "instructions" in machine else "")
    )


def peak_memory_mb() -> float:
    """The most resident memory that this process has had, in MB (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def memory_bytes() -> int:
    """The resident memory of this process now; the most that it has had, where the system does not say more."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return round(peak_memory_mb() * 1e6)


def instructions() -> list[str]:
    """The processor's instructions for short numbers, of those that networks use."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    has = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return [name for name in SHORT_NUMBERS if name in has]


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
