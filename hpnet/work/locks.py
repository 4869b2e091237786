"""Locks between processes: one writer of a result at a time.

This uses ``flock`` and not the package ``filelock``. Here a waiting process prints which process it waits for, and a
file system without locks gives a warning. The package does neither, and it polls.
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
    """Hold a lock during the block. The lock ends with its process; the file has the number of this process.

    If the file system has no locks, it prints a warning and does not lock.

    Args:
        waiting: message of a process that must wait, printed with the number of the holder; empty: no message.
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
            note(f"{file.name}: {error.strerror}: do not run one command twice at the same time here")
        with contextlib.suppress(OSError):  # the number is only information: a full disk must not stop the command here
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield


@contextmanager
def held(outs: Iterable[Path], folder: Path) -> Iterator[None]:
    """Lock these outputs against other processes during the block; wait for a process that writes them now.

    DVC has its own locks; this is for commands that are run by hand at the same time. Of the processes of ``accelerate
    launch`` the first one holds the lock.

    Args:
        folder: of the lock files, ``.work/locks`` of the project.
    """
    with ExitStack() as stack:
        for out in [] if int(os.environ.get("RANK", "0")) else sorted(outs):
            name = hashlib.blake2b(str(out.resolve()).encode(), digest_size=8).hexdigest()
            stack.enter_context(locked(folder / name, f"another process is writing {out}: waiting for it"))
        yield
