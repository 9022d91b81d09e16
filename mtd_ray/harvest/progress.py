"""How a harvest goes, on one line: rewritten in place on a terminal, now and then otherwise."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from mtd_ray.harvest.worker import Receipt

_TERMINAL_EVERY_S = 0.2
_PLAIN_EVERY_S = 5.0
_PLAIN_AT_LEAST_EVERY_S = 60.0
_RATE_OVER_S = 60.0


class _Teacher:
    """Counts of one teacher; ``total`` rows were pending when the harvest began."""

    def __init__(self, total: int, now: float) -> None:
        self._total = total
        self._rows = self._failed = self._requests = self._rejected = 0
        self._history = deque([(now, 0)])
        self._started = now

    def add(self, receipt: Receipt, now: float) -> None:
        self._rows += receipt.rows
        self._failed += receipt.failed_rows
        self._requests += receipt.requests
        self._rejected += receipt.rejected
        self._history.append((now, self._rows))

    def describe(self, now: float) -> str:
        words = [f"{self._rows:,}/{self._total:,} rows"]
        if self._rows == 0:
            return f"{words[0]}, starting"
        rate = self._rate(now)
        words.append(f"{rate:,.0f} rows/s")
        if self._requests:
            words.append(f"{100 * self._rejected / self._requests:.1f} % rejected")
        if self._failed:
            words.append(f"{self._failed:,} failed")
        if self._rows < self._total:
            words.append(f"ETA {_clock((self._total - self._rows) / rate if rate else None)}")
        return ", ".join(words)

    def _rate(self, now: float) -> float:
        """Rows per second: of the last minute while going on, of all the time when done."""
        if self._rows >= self._total:
            since, before, now = self._started, 0, self._history[-1][0]
        else:
            while len(self._history) > 1 and self._history[1][0] < now - _RATE_OVER_S:
                self._history.popleft()
            since, before = self._history[0]
        return (self._rows - before) / (now - since) if now > since else 0.0


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
        self._started = self._shown_at = clock()
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
        # A log of a harvest of days should not hold a line for every few seconds of it.
        plain = min(max(_PLAIN_EVERY_S, (now - self._started) / 20), _PLAIN_AT_LEAST_EVERY_S)
        if now - self._shown_at >= (_TERMINAL_EVERY_S if self._terminal else plain):
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
