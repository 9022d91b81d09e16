"""How a harvest goes: a table rewritten in place on a terminal, a line now and then otherwise."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TextIO

from mtd_ray.config import QuotaConfig
from mtd_ray.harvest.counts import TeacherCounts
from mtd_ray.harvest.table import aligned, dollars
from mtd_ray.harvest.worker import Receipt

_TERMINAL_EVERY_S = 0.2
_PLAIN_EVERY_S = 5.0
_PLAIN_AT_LEAST_EVERY_S = 60.0
_COLUMNS = ("rows", "of", "rows/s", "tokens/s", "quota used", "rejected", "failed", "cost", "ETA")


class Progress:
    """Shows the state of all teachers together.

    Args:
        pending: teacher → rows to do.
        quotas: teacher → quota of its account, of those that have one.
        cap_usd: ``harvest.budget_usd``.
        spent_before_usd: what counted against it when the harvest began.
        title: what goes on.
        stream: where the lines go; standard error by default.
        clock: gives seconds.
    """

    def __init__(
        self,
        pending: Mapping[str, int],
        *,
        quotas: Mapping[str, QuotaConfig] | None = None,
        cap_usd: float | None = None,
        spent_before_usd: float = 0.0,
        title: str = "harvest",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._teachers = {name: TeacherCounts(rows, (quotas or {}).get(name), clock()) for name, rows in pending.items()}
        self._cap, self._spent_before = cap_usd, spent_before_usd
        self._title = title
        self._started = self._shown_at = clock()
        self._terminal = self._stream.isatty()
        self._lines_above = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._show()

    def add(self, name: str, receipt: Receipt) -> None:
        """Count a part of a teacher."""
        self._teachers[name].add(receipt, self._clock())

    def correct(self, name: str, rows: int) -> None:
        """So many more are to do, or fewer, than was thought."""
        self._teachers[name].pending += rows

    def quota_share(self, name: str) -> float | None:
        """A teacher's present pace as a share of its quota; None without one."""
        return self._teachers[name].quota_share(self._clock())

    def tick(self) -> None:
        """Show the present state if the last one is old enough."""
        now = self._clock()
        # A log of a harvest of days should not hold a line for every few seconds of it.
        plain = min(max(_PLAIN_EVERY_S, (now - self._started) / 20), _PLAIN_AT_LEAST_EVERY_S)
        if now - self._shown_at >= (_TERMINAL_EVERY_S if self._terminal else plain):
            self._shown_at = now
            self._show()

    def _show(self) -> None:
        now = self._clock()
        cells = {name: _cells(counts, now) for name, counts in self._teachers.items()}
        self._stream.write(self._rewritten(cells) if self._terminal else self._plain(cells))
        self._stream.flush()

    def _rewritten(self, cells: Mapping[str, list[str]]) -> str:
        """The table, over the one before."""
        width = shutil.get_terminal_size().columns - 1
        lines = aligned([(self._title, *_COLUMNS), *([name, *row] for name, row in cells.items())])
        lines += [f"budget   {spent}"] if (spent := self._spent()) else []
        up = f"\x1b[{self._lines_above}F" if self._lines_above else ""
        self._lines_above = len(lines)
        return up + "".join(f"\x1b[2K{line[:width]}\n" for line in lines)

    def _plain(self, cells: Mapping[str, list[str]]) -> str:
        words = [f"{name} {_sentence(row)}" for name, row in cells.items()]
        words += [f"budget {spent}"] if (spent := self._spent()) else []
        return f"{self._title}  {' | '.join(words)}\n"

    def _spent(self) -> str:
        if self._cap is None:
            return ""
        spent = self._spent_before + sum(counts.usd for counts in self._teachers.values())
        return f"{dollars(spent)} of {dollars(self._cap)}"


def _cells(counts: TeacherCounts, now: float) -> list[str]:
    """What stands in the columns after the teacher's name; empty where there is nothing to say."""
    if counts.rows == 0:
        return ["0", f"{counts.pending:,}", *[""] * 6, "starting"]
    rates, share = counts.rates(now), counts.quota_share(now)
    return [
        f"{counts.rows:,}",
        f"{counts.pending:,}",
        f"{rates.rows:,.0f}",
        f"{rates.tokens:,.0f}" if counts.tokens else "",
        "" if share is None else f"{share:.0%}",
        f"{counts.rejected / counts.requests:.1%}" if counts.requests else "",
        f"{counts.failed:,}" if counts.failed else "",
        dollars(counts.usd) if counts.usd else "",
        _clock(counts.seconds_left(now)) if counts.rows < counts.pending else "",
    ]


def _sentence(row: list[str]) -> str:
    rows, of, rows_per_s, tokens_per_s, share, rejected, failed, usd, left = row
    if not rows_per_s:
        return f"{rows}/{of} rows, {left}"
    facts = [
        (tokens_per_s, f"{tokens_per_s} tokens/s"),
        (share, f"{share} of the quota"),
        (rejected, f"{rejected} rejected"),
        (failed, f"{failed} failed"),
        (usd, usd),
        (left, f"ETA {left}"),
    ]
    return ", ".join([f"{rows}/{of} rows", f"{rows_per_s} rows/s", *(text for known, text in facts if known)])


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
