"""Files of weights: showing, downloading and checking them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..weights.fetch import OfflineError, fetch, problem
from ..weights.files import Weights, WeightsFile, by_hand, destination, missing, where
from ..weights.places import digest
from ..work.console import progress

DIGITS = 8
"""Number of shown digits of a digest."""


@dataclass(frozen=True)
class Finding:
    """A line about a file of weights.

    Attributes:
        wrong: the user must do something about it.
    """

    text: str
    wrong: bool = False


def describe(entry: Weights) -> str:
    """The files of a network, with address, size, digest and place, as a few lines."""
    size = f"about {entry.about_mb} MB" if entry.about_mb else "size unknown"
    lines = [f"{entry.name}  ({entry.role}, {'packaged, ' if entry.packaged else ''}{size})"]
    for file in entry.files:
        found = where(file)
        known = f"{file.digest_start}..." if file.digest_start else "not published"
        if found and not file.digest_start:
            known = f"{digest(found)[:DIGITS]}..." + ("" if entry.packaged else f" of the file here; {known}")
        lines += [
            f"  file    {file.path}",
            f"  from    {file.url or entry.origin}",
            f"  digest  {known}",
            f"  here    {found}" if found else f"  put it  {destination() / file.path}",
        ]
    return "\n".join(lines)


def fetch_missing(entries: Iterable[Weights], into: Path | None = None, mirror: str | None = None) -> Iterator[Finding]:
    """Download missing files; if that is not possible, a wrong finding says what to do by hand.

    Args:
        into: the target folder; by default :func:`hpnet.weights.files.destination`.
        mirror: address of a folder with the files, used instead of their own addresses.

    Raises:
        ConnectionError: a download broke off; calling again resumes it.
        ValueError: a file does not have its digest.
    """
    for entry in entries:
        wanted = missing(entry) if into is None else [f for f in entry.files if not (into / f.path).is_file()]
        if not wanted:
            yield Finding(f"{entry.name}: already here (`hpnet weights check {entry.name}` checks it)")
        for file in wanted:
            url = f"{mirror.rstrip('/')}/{file.path}" if mirror else file.url
            if not url:
                yield Finding(f"{entry.name}: {by_hand(entry, file, into)}", wrong=True)
                continue
            try:
                path = _download(url, (into or destination()) / file.path, file)
            except OfflineError as error:
                yield Finding(f"{entry.name}: {error}: {by_hand(entry, file, into)}", wrong=True)
            else:
                yield Finding(f"{entry.name}: {path} ({path.stat().st_size / 1e6:.1f} MB)")


def check(entries: Iterable[Weights]) -> Iterator[Finding]:
    """Whether the files of weights are present and complete."""
    for entry in entries:
        for file in entry.files:
            path = where(file)
            if path is None:
                yield Finding(f"{entry.name}: missing: {by_hand(entry, file)}", wrong=True)
                continue
            damage = problem(path, file.digest_start)
            yield Finding(f"{entry.name}: {path} {damage or 'is whole'}", wrong=bool(damage))


def _download(url: str, path: Path, file: WeightsFile) -> Path:
    shown_mb = 0
    with progress(path.name, None) as advance:

        def on_progress(now: int, total: int) -> None:
            nonlocal shown_mb
            note = f"{now / 1e6:.0f} of {total / 1e6:.0f} MB" if total else f"{now / 1e6:.0f} MB"
            advance(round(now / 1e6) - shown_mb, note=note)
            shown_mb = round(now / 1e6)

        return fetch(url, path, file.digest_start, on_progress)
