"""How a harvest goes, on one line: rewritten in place on a terminal, every few seconds otherwise."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from mtd_ray.harvest.worker import Receipt

_TERMINAL_EVERY_S = 0.2
_PLAIN_EVERY_S = 5.0


class _Teacher:
    """Counts of one teacher; ``total`` rows were pending when the harvest began."""

    def __init__(self, total: int, now: float) -> None:
        self.total = total
        self.rows = self.failed = self.requests = self.rejected = 0
        self.started_at = self.last_at = now

    def add(self, receipt: Receipt, now: float) -> None:
        self.last_at = now
        self.rows += receipt.rows
        self.failed += receipt.failed_rows
        self.requests += receipt.requests
        self.rejected += receipt.rejected

    def describe(self, now: float) -> str:
        seconds = (self.last_at if self.rows >= self.total else now) - self.started_at
        rate = self.rows / seconds if seconds > 0 else 0.0
        words = [f"{self.rows:,}/{self.total:,} rows", f"{rate:,.0f} rows/s"]
        if self.requests:
            words.append(f"{100 * self.rejected / self.requests:.1f} % rejected")
        if self.failed:
            words.append(f"{self.failed:,} failed")
        if self.rows < self.total:
            words.append(f"ETA {_clock(((self.total - self.rows) / rate) if rate else None)}")
        return ", ".join(words)


class Progress:
    """Shows the state of all teachers together.

    Args:
        pending: teacher → rows to do.
        stream: where the lines go; standard error by default.
        clock: gives seconds.
    """

    def __init__(
        self, pending: dict[str, int], *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._teachers = {name: _Teacher(rows, clock()) for name, rows in pending.items()}
        self._shown_at = clock()
        self._terminal = self._stream.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._show("\n")

    def add(self, name: str, receipt: Receipt) -> None:
        """Count a part of a teacher."""
        self._teachers[name].add(receipt, self._clock())

    def tick(self) -> None:
        """Show the present state if the last one is old enough."""
        now = self._clock()
        if now - self._shown_at >= (_TERMINAL_EVERY_S if self._terminal else _PLAIN_EVERY_S):
            self._shown_at = now
            self._show("" if self._terminal else "\n")

    def _show(self, end: str) -> None:
        now = self._clock()
        line = "harvest  " + " | ".join(f"{name} {teacher.describe(now)}" for name, teacher in self._teachers.items())
        if self._terminal:
            columns = shutil.get_terminal_size().columns - 1
            line = "\r" + line[:columns].ljust(columns)
        self._stream.write(f"{line}{end}")
        self._stream.flush()


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
