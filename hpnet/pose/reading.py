"""Reading ahead: threads decode while the network computes, and the order stays."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


CHUNK = 16
"""Items that a reader of several hands over at a time: threads that wake each other for every item get little done."""


class ReadAhead(Iterator[Item], Generic[Item]):
    """Iterates ``items`` in a thread of its own, at most ``depth`` ahead; the thread's exceptions are raised here.

    The thread starts at once. :meth:`close` stops it; what was not asked for is dropped.
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
    """The items of streams one after another, while ``readers`` threads read that many streams at once.

    Args:
        streams: taken as they are needed; with one reader they share one thread.
        depth: items held ready altogether.
    """
    if readers == 1:
        single = ReadAhead(itertools.chain.from_iterable(streams), depth)
        try:
            yield from single
        finally:
            single.close()
        return
    waiting = iter(streams)
    each = max(1, depth // readers // CHUNK)

    def begin(count: int) -> Iterator[ReadAhead[list[Item]]]:
        return (ReadAhead(_chunks(stream), each) for stream in itertools.islice(waiting, count))

    opened: deque[ReadAhead[list[Item]]] = deque(begin(readers))
    try:
        while opened:
            for chunk in opened[0]:
                yield from chunk
            opened.popleft()
            opened.extend(begin(1))
    finally:
        for reader in opened:
            reader.close()


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items in lists of :data:`CHUNK`; what came before an error is handed over first."""
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
