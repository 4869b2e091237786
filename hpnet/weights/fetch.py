"""Downloading weights: resumed after a stop, checked against the digest, moved into place only when complete."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from .checkpoint import load_state
from .places import digest
from .torch_file import TorchFile

BLOCK = 1 << 20
TIMEOUT_S = 30.0


class OfflineError(OSError):
    """The address cannot be reached, or does not have the file."""


def fetch(
    url: str,
    destination: Path,
    digest_start: str = "",
    on_progress: Callable[[int, int], None] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Path:
    """Download ``url`` to ``destination``; the part from an earlier, broken call is in ``<name>.part`` and is used.

    Args:
        digest_start: first digits of the SHA-256 that the file must have; empty: unknown.
        on_progress: called with bytes so far and total bytes (0: unknown).

    Raises:
        OfflineError: the server cannot be reached or refuses.
        ConnectionError: it broke off; the same call resumes it.
        ValueError: the file does not have its digest; it is deleted.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(f"{destination.name}.part")
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "hpnet", **_range(have)})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            start = have if resumed else 0
            length = response.headers.get("Content-Length")
            total = start + int(length) if length else 0
            with part.open("ab" if resumed else "wb") as file:
                while block := response.read(BLOCK):
                    file.write(block)
                    if on_progress:
                        on_progress(file.tell(), total)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise OfflineError(f"{url} answers {error.code} {error.reason}") from None
        # nothing is left to send: the part is complete, or of another file
        if _size(error.headers.get("Content-Range", "")) not in (have, None):
            part.unlink()
            return fetch(url, destination, digest_start, on_progress, timeout_s)
        total = have
    except urllib.error.URLError as error:
        raise OfflineError(f"{url} cannot be reached ({error.reason})") from None
    except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
        raise ConnectionError(f"{url} broke off ({error or type(error).__name__}): run the same again") from None
    got = part.stat().st_size
    if total and got < total:
        raise ConnectionError(f"{url} broke off after {got} of {total} bytes: run the same again to go on from there")
    actual = digest(part)
    if digest_start and not actual.startswith(digest_start):
        part.unlink()
        raise ValueError(
            f"{url} has digest {actual[:8]}, expected {digest_start}: it is another file or was garbled; deleted, "
            "fetch it again"
        )
    part.replace(destination)
    return destination


def _range(have: int) -> dict[str, str]:
    return {"Range": f"bytes={have}-"} if have else {}


def _size(content_range: str) -> int | None:
    """The whole size in a Content-Range header such as ``bytes */1234``."""
    match = re.search(r"/(\d+)$", content_range)
    return int(match[1]) if match else None


def problem(path: Path, digest_start: str = "") -> str:
    """Why a weights file is not complete; empty if it is.

    A known digest decides. Without one, the file is read: tensors as :func:`hpnet.weights.checkpoint.load_state`
    reads them, an ultralytics checkpoint with the checksums of its numbers, JSON as JSON.
    """
    if path.stat().st_size == 0:
        return "is empty"
    if digest_start:
        actual = digest(path)
        return "" if actual.startswith(digest_start) else f"has digest {actual[:8]}, expected {digest_start}"
    if path.suffix == ".json":
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            return f"is no JSON ({error})"
        return ""
    try:
        if path.suffix == ".pt":
            TorchFile(path).check()
        else:
            load_state(path)
    except ValueError as error:
        return str(error).removeprefix(f"weights {path} ")
    return ""
