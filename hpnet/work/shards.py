"""Map work over clips, shard by shard: resumable, in one process, several processes or a Ray cluster.

Clips are assigned to shards by their names, so new clips change only their own shards. A shard's key is a hash of
everything that affects its content. A finished shard is renamed to ``<stage_dir>/<key>`` in one step, and the next run
finds it there. A killed run loses only unfinished shards.

If the worker of a shard dies twice, the shard is done clip by clip, each in its own process. A clip that kills this
process too is given to the work as a fault and recorded as failed; the run continues.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import itertools
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ..core.stretch import Stretch
from . import processes
from .processes import Died, Workers

MANIFEST = "manifest.json"
MISSING = "missing"
"""The content digest of a missing or unreadable file."""
MOST_DEAD = 16
"""If this number of clips in a row kill their own process, the clips are probably not the cause."""
FEW_CLIPS = 512
"""Up to so many clips, each has a shard of its own."""
HERE = Workers(1)
"""This process alone."""


@dataclass(frozen=True)
class ShardItem:
    """One clip.

    Attributes:
        path: its file, if it has one.
        stretch: the part of the file that it is; None: all of it.
        digest: of everything in the clip that affects the result.
        fault: why it cannot be processed, if so; the work records it as failed with this reason.
    """

    clip_id: str
    path: Path | None
    digest: str
    fault: str = ""
    stretch: Stretch | None = None


class Work(Protocol):
    """The work on a shard: write files for ``items`` into the empty folder ``out``. Picklable.

    An item with a ``fault`` is not processed, but recorded as failed.
    """

    def __call__(self, items: Sequence[ShardItem], out: Path) -> None:
        """Write the shard."""


def run_shards(
    items: Sequence[ShardItem],
    work: Work,
    *,
    stage_dir: Path,
    key: dict[str, Any],
    shard_size: int = 32,
    workers: Workers = HERE,
    engine: str = "local",
    on_progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Run ``work`` over ``items`` and return the finished shard folders, in order of clip name.

    Args:
        items: the clips; a clip listed twice is an error.
        stage_dir: ``.work/<stage>``, the folder of finished shards.
        key: JSON values that, with the items, determine the result (parameters, weights digest, code digest).
        shard_size: clips per shard on average.
        workers: processes (see :func:`hpnet.work.processes.device_workers`). With one, this process does the work, and
            a crash ends the run.
        engine: ``local``, or ``ray``: the cluster at $RAY_ADDRESS, whose nodes have the working folder at the same
            path, or else this number of processes of a new local Ray.
        on_progress: called with the number of clips of each finished shard, including re-used ones.

    Raises:
        ValueError: an unknown engine, or a clip listed twice.
        RuntimeError: worker processes die with every clip.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r} is unknown; choose from {', '.join(ENGINES)}")
    shards = [Shard(dealt, stage_dir / shard_key(dealt, key)) for dealt in deal(items, shard_size)]
    stage_dir.mkdir(parents=True, exist_ok=True)
    report = on_progress or (lambda count: None)
    run = functools.partial(ENGINES[engine], work, workers)
    with _at_work(stage_dir):
        waiting: list[Shard] = []
        suspects: list[Shard] = []
        for shard in shards:
            if is_whole(shard.folder):
                report(len(shard.items))
            elif len(shard.items) > 1 and any(part.folder.is_dir() for part in _parts(shard, key)):
                suspects.append(shard)  # it was done clip by clip in an earlier run
            else:
                waiting.append(shard)
        for number, result in run(waiting):
            if isinstance(result, Died):
                suspects.append(waiting[number])
            else:
                report(result)
        parts = {shard.folder: _parts(shard, key) for shard in sorted(suspects, key=_name)}
        replaced = _clip_by_clip([part for each in parts.values() for part in each], run, key, report)
    return [replaced.get(part.folder, part.folder) for shard in shards for part in parts.get(shard.folder, [shard])]


@dataclass(frozen=True)
class Shard:
    """Clips that are processed together, and the folder of their result."""

    items: Sequence[ShardItem]
    folder: Path


def _name(shard: Shard) -> str:
    return shard.items[0].clip_id


def _parts(shard: Shard, key: dict[str, Any]) -> list[Shard]:
    """A shard of each of its clips."""
    return [Shard([item], shard.folder.with_name(shard_key([item], key))) for item in shard.items]


def _clip_by_clip(
    parts: Sequence[Shard], run: Callable[..., Iterator[tuple[int, int | Died]]], key: dict[str, Any],
    report: Callable[[int], None],
) -> dict[Path, Path]:  # fmt: skip
    """Do shards of one clip, one process at a time. Returns folder -> its replacement.

    Raises:
        RuntimeError: :data:`MOST_DEAD` clips in a row killed their process.
    """
    waiting = [part for part in parts if not is_whole(part.folder)]
    report(len(parts) - len(waiting))
    faults: list[tuple[Shard, Shard]] = []
    in_a_row = 0
    for number, result in run(waiting, alone=True):
        if not isinstance(result, Died):
            in_a_row = 0
            report(result)
            continue
        part, in_a_row = waiting[number], in_a_row + 1
        (item,) = part.items
        if in_a_row == MOST_DEAD:
            raise RuntimeError(
                f"the last {MOST_DEAD} clips, up to {item.clip_id}, each {result.reason}: use fewer --workers, or free "
                "memory; finished clips are kept"
            )
        known = replace(item, digest=f"{item.digest}: {result.reason}", fault=result.reason)
        faults.append((part, Shard([known], part.folder.with_name(shard_key([known], key)))))
    recorded = [fault for _, fault in faults if not is_whole(fault.folder)]
    report(len(faults) - len(recorded))
    for number, result in run(recorded, alone=True):
        if isinstance(result, Died):
            raise RuntimeError(f"the process that recorded {_name(recorded[number])} as failed {result.reason}")
        report(result)
    return {part.folder: fault.folder for part, fault in faults}


def deal(items: Sequence[ShardItem], shard_size: int) -> list[list[ShardItem]]:
    """Split the clips, in order of name, into shards of about ``shard_size``.

    Boundaries depend on the names near them (content-defined chunking), so an added or removed clip changes one or two
    shards, not all later ones.
    """
    ordered = sorted(items, key=lambda item: item.clip_id)
    for before, after in itertools.pairwise(ordered):
        if before.clip_id == after.clip_id:
            raise ValueError(f"clip {after.clip_id!r} is listed twice")
    least, most = max(1, shard_size // 2), max(1, shard_size * 2)
    shards: list[list[ShardItem]] = []
    for item in ordered:
        starts = int.from_bytes(hashlib.blake2b(item.clip_id.encode(), digest_size=4).digest(), "big") % least == 0
        current = len(shards[-1]) if shards else most
        if current >= most or (starts and current >= least):
            shards.append([])
        shards[-1].append(item)
    return shards


def clips_per_shard(count: int, usual: int) -> int:
    """How many clips share a shard: one where they are few, so that clips that are added are the only ones done;
    ``usual`` where so many small files would slow DVC down."""
    return 1 if count <= FEW_CLIPS else usual


def shard_key(items: Sequence[ShardItem], key: dict[str, Any]) -> str:
    """The name of a shard's folder: a hash of the key and of its clips' names and digests."""
    text = json.dumps([key, [(item.clip_id, item.digest) for item in items]], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def is_whole(folder: Path) -> bool:
    """Whether a finished shard exists and every file has its recorded digest."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return False
    try:
        files: dict[str, str] = json.loads(manifest.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return False
    return all((folder / name).is_file() and file_digest(folder / name) == digest for name, digest in files.items())


def file_digest(path: Path) -> str:
    """BLAKE2b digest of a file's bytes, 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def content_digest(path: Path) -> str:
    """:func:`file_digest`, or :data:`MISSING` for a missing or unreadable file."""
    try:
        return file_digest(path)
    except OSError:
        return MISSING


def stretch_digest(digest: str, stretch: Stretch | None) -> str:
    """The digest of a part of a file, from that of the file; of the whole file it is the same."""
    return digest if stretch is None else f"{digest}@{stretch.start_s!r}-{stretch.end_s!r}"


def seal(part: Path, stem: str) -> Path:
    """Rename a finished ``NAME.part`` to ``STEM.DIGEST.SUFFIX``, with the suffix of NAME; older files are deleted."""
    file = part.with_name(f"{stem}.{file_digest(part)}{Path(part.stem).suffix}")
    os.replace(part, file)
    for old in part.parent.glob(f"{stem}.{'?' * 32}.*"):
        if old != file:
            old.unlink(missing_ok=True)
    return file


def sealed(folder: Path, stem: str) -> Path | None:
    """The file that :func:`seal` wrote, or None; a file with another digest than in its name is removed with a warning.

    If a kill left two, either one: both are complete.
    """
    for file in sorted(folder.glob(f"{stem}.{'?' * 32}.*")):
        try:
            whole = file.name.split(".")[-2] == file_digest(file)
        except FileNotFoundError:
            continue
        if whole:
            return file
        warnings.warn(f"{file} is damaged: it is made again", stacklevel=2)
        file.unlink(missing_ok=True)
    return None


def link_file(source: Path, destination: Path) -> None:
    """Hard-link a finished file into a stage's output; copy it if links are not possible."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(f"{destination.name}.{uuid.uuid4().hex}.part")
    try:
        try:
            os.link(source, part)
        except OSError:
            shutil.copy2(source, part)
        os.replace(part, destination)
    finally:
        part.unlink(missing_ok=True)  # also after a rename to a link of the same file, which does nothing


def link_tree(files: Iterable[tuple[Path, str]], destination: Path, stale: str) -> None:
    """Link each (file, name) into ``destination``; other files there with names that match ``stale`` are deleted."""
    links = {name: source for source, name in files}
    for name, source in links.items():
        link_file(source, destination / name)
    for old in destination.glob(stale):
        if old.name not in links:
            old.unlink()


@contextlib.contextmanager
def _at_work(stage_dir: Path) -> Iterator[None]:
    """Lock a folder that several runs may share; a run that is alone first removes unfinished files of killed runs."""
    with (stage_dir / ".lock").open("w") as file:
        with contextlib.suppress(OSError):  # other runs are active, or the file system has no locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in stage_dir.glob("tmp-*"):
                shutil.rmtree(left, ignore_errors=True)
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH)
        yield


def finish_shard(work: Work, items: Sequence[ShardItem], folder: Path) -> int:
    """Do one shard in a temporary folder and rename it; returns the number of clips.

    Raises:
        FileNotFoundError: a clip's file vanished after its digest was computed; nothing is kept for this digest, so
            that the file is processed when it is back.
    """
    temporary = folder.parent / f"tmp-{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    try:
        work(items, temporary)
        _require_still_there(items)
        files = sorted(p for p in temporary.rglob("*") if p.is_file())
        manifest = {str(p.relative_to(temporary)): file_digest(p) for p in files}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(items)


def _require_still_there(items: Sequence[ShardItem]) -> None:
    for item in items:
        if item.path is not None and not item.digest.startswith(MISSING) and not item.path.is_file():
            raise FileNotFoundError(
                f"clip {item.clip_id!r}: {item.path} vanished during the run: restore or remove it, and run "
                "the same command again (finished work is kept)"
            )


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename; an existing shard of another process is kept, a damaged one is replaced."""
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        if not is_whole(folder):
            damaged = folder.with_name(f"tmp-{uuid.uuid4().hex}")
            folder.rename(damaged)
            shutil.rmtree(damaged, ignore_errors=True)
            temporary.rename(folder)


def _run_local(
    work: Work, workers: Workers, shards: Sequence[Shard], *, alone: bool = False
) -> Iterator[tuple[int, int | Died]]:
    finish = functools.partial(_finish, work)
    if workers.count <= 1 or not shards:
        yield from processes.run_here(finish, shards)
        return
    share = replace(workers, count=1) if alone else workers
    with closing(processes.run(finish, shards, share, retries=0 if alone else 1)) as done:
        yield from done


def _finish(work: Work, shard: Shard) -> int:
    return finish_shard(work, shard.items, shard.folder)


def _finish_in(project: Path, work: Work, shard: Shard) -> int:
    """:func:`finish_shard` in the driver's folder, so that relative paths (``weights/``) are valid on every node."""
    os.chdir(project)
    return _finish(work, shard)


def _run_ray(
    work: Work, workers: Workers, shards: Sequence[Shard], *, alone: bool = False
) -> Iterator[tuple[int, int | Died]]:
    try:
        import ray
    except ModuleNotFoundError:
        raise ModuleNotFoundError("--engine ray needs Ray: pip install 'hpnet[cluster]'") from None
    if not shards:
        return
    started = not ray.is_initialized()
    if started:
        address = os.environ.get("RAY_ADDRESS")
        limits = {} if address else {"num_cpus": max(workers.count, 1)}
        ray.init(address=address, include_dashboard=False, log_to_driver=False, **limits)
    try:
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0))
        cores = max(1, int(there.get("CPU", 1)) // gpus) if gpus else 1  # decoding uses its share of cores
        retries = 0 if alone else 1
        remote = ray.remote(num_cpus=cores, num_gpus=min(gpus, 1), max_retries=retries)(_finish_in)
        left = [(number, replace(shard, folder=shard.folder.resolve())) for number, shard in enumerate(shards)][::-1]
        pending: dict[Any, int] = {}
        while left or pending:
            while left and not (alone and pending):
                number, shard = left.pop()
                pending[remote.remote(Path.cwd(), work, shard)] = number
            ready, _ = ray.wait(list(pending), num_returns=1)
            number = pending.pop(ready[0])
            try:
                result: int | Died = ray.get(ready[0])
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
                result = Died(None)
            yield number, result
    finally:
        if started:
            ray.shutdown()


ENGINES: dict[str, Callable[..., Iterator[tuple[int, int | Died]]]] = {"local": _run_local, "ray": _run_ray}
"""How shards are done. Called with the work, the workers and the shards; yields (number of the shard, its clips), or
:class:`Died` instead of the clips if a worker died twice. ``alone``: one at a time, once each."""
