"""The memory allocator of this process, which affects speed on a CPU."""

from __future__ import annotations

import ctypes
import platform
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


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
