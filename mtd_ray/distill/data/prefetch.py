"""The next batches are prepared in a thread while the current one trains."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from mtd_ray.distill.data.batch import Batch

_LOOK_UP_S = 0.2
_PATIENCE_S = 5.0


class Reader(Protocol):
    """What gives a step's batch (:class:`mtd_ray.distill.data.reader.BatchReader`)."""

    def batch(self, step: int) -> Batch:
        """The batch of a step."""

    def close(self) -> None:
        """Begin nothing more."""


class Prefetcher:
    """Iterates over the batches of consecutive steps, up to ``ahead`` of them prepared in a thread.

    An error in the thread is raised by the iteration, at its place in the sequence. Leaving closes the reader; a read that is under
    way is waited for only ``patience`` seconds: nothing comes of it, and it ends by itself.
    """

    def __init__(self, reader: Reader, steps: range, *, ahead: int = 3, patience: float = _PATIENCE_S) -> None:
        self._reader, self._steps, self._patience = reader, steps, patience
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=ahead)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="prefetch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed.set()
        self._reader.close()
        self._thread.join(self._patience)

    def __iter__(self) -> Iterator[Batch]:
        for _ in self._steps:
            item = self._ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item

    def _produce(self) -> None:
        for step in self._steps:
            try:
                item: Batch | BaseException = self._reader.batch(step)
            except BaseException as error:  # a panic of the Rust libraries is no Exception, and the trainer must not wait for ever
                item = error
            if not self._deliver(item) or isinstance(item, BaseException):
                return

    def _deliver(self, item: Batch | BaseException) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=_LOOK_UP_S)
            except queue.Full:
                continue
            return True
        return False
