"""Reading ahead: threads decode while the network computes; the order does not change."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


CHUNK = 16
"""Number of items that one of several readers hands over at a time, because a thread switch per item is slow."""
ROOM_BYTES = 1792 << 20
"""Readers work at the same time while their memory together is at most this."""


@dataclass(frozen=True)
class Weighed(Iterable[Item], Generic[Item]):
    """A stream with the memory that reading it needs."""

    items: Iterable[Item]
    memory_bytes: int

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


class ReadAhead(Iterator[Item], Generic[Item]):
    """Iterates ``items`` in its own thread, at most ``depth`` ahead; exceptions of the thread are raised here.

    The thread starts at once. :meth:`close` stops it; items that were not taken are dropped.
    """

    def __init__(self, items: Iterable[Item], depth: int) -> None:
        self._ready: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, args=(items,), daemon=True)
        self._thread.start()

    def __next__(self) -> Item:
        if self._stop.is_set():
            raise StopIteration
        kind, value = self._ready.get()
        if kind == "item":
            return value  # type: ignore[no-any-return]
        self.close()
        if kind == "error":
            raise value
        raise StopIteration

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._stop.set()
        self._thread.join()

    def _put(self, kind: str, value: Any) -> None:
        while not self._stop.is_set():
            try:
                self._ready.put((kind, value), timeout=0.1)
                return
            except queue.Full:
                continue

    def _produce(self, items: Iterable[Item]) -> None:
        try:
            for item in items:
                self._put("item", item)
                if self._stop.is_set():
                    return
            self._put("end", None)
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, which raises it
            self._put("error", error)


def read_streams_ahead(streams: Iterable[Iterable[Item]], readers: int, depth: int) -> Iterator[Item]:
    """The items of streams one after another; ``readers`` threads read one stream each.

    Args:
        streams: taken on demand; with one reader they share one thread. Fewer than ``readers`` are read at the same
            time if :class:`Weighed` streams would need more than ``ROOM_BYTES``.
        depth: number of items held ready, over all streams.
    """
    if readers == 1:
        single = ReadAhead(itertools.chain.from_iterable(streams), depth)
        try:
            yield from single
        finally:
            single.close()
        return
    each = max(1, depth // readers // CHUNK)
    waiting = ((stream, stream.memory_bytes if isinstance(stream, Weighed) else 0) for stream in streams)
    coming = next(waiting, None)
    opened: deque[tuple[ReadAhead[list[Item]], int]] = deque()
    try:
        while coming or opened:
            while coming and len(opened) < readers:
                stream, memory_bytes = coming
                if opened and memory_bytes + sum(held for _, held in opened) > ROOM_BYTES:
                    break
                opened.append((ReadAhead(_chunks(stream), each), memory_bytes))
                coming = next(waiting, None)
            for chunk in opened[0][0]:
                yield from chunk
            opened.popleft()
    finally:
        for reader, _ in opened:
            reader.close()


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items in lists of :data:`CHUNK`; items before an error are handed over first."""
    chunk: list[Item] = []
    try:
        for item in items:
            chunk.append(item)
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
    except Exception:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk
