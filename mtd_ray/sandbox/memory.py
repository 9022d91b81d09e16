"""How much memory a process and all its descendants hold together, at most."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil


class PeakMemory:
    """Samples this process's tree in a thread while the ``with`` block runs.

    ``gigabytes`` is the highest sum seen of proportional set sizes (a page shared by n processes counts 1/n in each), so that
    libraries and Ray's shared memory are counted once.
    """

    def __init__(self, every_s: float = 2.0) -> None:
        self.gigabytes = 0.0
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        root = psutil.Process()
        while not self._stop.wait(self._every_s):
            held = sum(_proportional_bytes(process) for process in [root, *root.children(recursive=True)])
            self.gigabytes = max(self.gigabytes, held / 1e9)


def _proportional_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it ended between being listed and being read
        return 0
