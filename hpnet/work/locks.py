"""Locks between processes: one writer of a result at a time.

``flock`` itself and not the package ``filelock``: a lock here tells the others which process they wait for, and says so
where the file system has no locks; the package does neither, and polls.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .console import note


@contextmanager
def locked(path: Path, waiting: str = "") -> Iterator[None]:
    """Let one process at a time in. The lock ends with the process that holds it; the file has that process's number.

    Where the file system has no locks, this says so and lets every process in.

    Args:
        waiting: what a process that must wait says first, with the number of the holder; nothing if it is empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting:
                    file.seek(0)
                    note(f"{waiting} (process {file.read() or 'unknown'})")
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            note(f"{file.name}: {error.strerror}: do not run one command twice at once here")
        with contextlib.suppress(OSError):  # the number is a courtesy: a full disk must not end the command here
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield


@contextmanager
def held(outs: Iterable[Path], folder: Path) -> Iterator[None]:
    """Keep other processes from writing these outputs during the block; wait for one that does now.

    DVC locks what it runs; this is for commands run by hand beside it. Of the processes of ``accelerate launch`` the
    first one holds for all.

    Args:
        folder: where the locks are, ``.work/locks`` of the project.
    """
    with ExitStack() as stack:
        for out in [] if int(os.environ.get("RANK", "0")) else sorted(outs):
            name = hashlib.blake2b(str(out.resolve()).encode(), digest_size=8).hexdigest()
            stack.enter_context(locked(folder / name, f"another process is writing {out}: waiting for it"))
        yield
