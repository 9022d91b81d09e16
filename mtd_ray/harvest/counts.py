"""One teacher's harvest in numbers: how much, how fast, and what share of its quota that is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from mtd_ray.config import QuotaConfig
from mtd_ray.harvest.worker import Receipt

_RATE_OVER_S = 60.0


@dataclass(frozen=True)
class Rates:
    """What is done per second."""

    rows: float
    tokens: float
    requests: float


@dataclass(frozen=True)
class _Moment:
    """What had been done at a time."""

    at: float
    rows: int = 0
    tokens: int = 0
    requests: int = 0


class TeacherCounts:
    """Adds up the receipts of one teacher. All times are seconds of one clock.

    Args:
        pending: rows to do.
        quota: of its account; None for a teacher without one.
        now: when the harvest begins.
    """

    def __init__(self, pending: int, quota: QuotaConfig | None, now: float) -> None:
        self.pending = pending
        self.rows = self.failed = self.tokens = self.requests = self.rejected = 0
        self.usd = 0.0
        quota = quota or QuotaConfig()
        per_minute = (quota.requests_per_minute, quota.tokens_per_minute, quota.inputs_per_minute)
        self._quota = [None if limit is None else limit / 60.0 for limit in per_minute]
        self._begun = _Moment(now)
        self._history = deque([self._begun])

    def add(self, receipt: Receipt, now: float) -> None:
        """Count a part."""
        self.rows += receipt.rows
        self.failed += receipt.failed_rows
        self.tokens += receipt.tokens
        self.requests += receipt.requests
        self.rejected += receipt.rejected
        self.usd += receipt.usd
        self._history.append(_Moment(now, self.rows, self.tokens, self.requests))

    def rates(self, now: float) -> Rates:
        """Of the last minute while going on, of all the time when done."""
        last = self._history[-1]
        if self.rows >= self.pending:
            since, now = self._begun, last.at
        else:
            while len(self._history) > 1 and self._history[1].at < now - _RATE_OVER_S:
                self._history.popleft()
            since = self._history[0]
        seconds = now - since.at
        if seconds <= 0:
            return Rates(0.0, 0.0, 0.0)
        done = (last.rows - since.rows, last.tokens - since.tokens, last.requests - since.requests)
        return Rates(*(amount / seconds for amount in done))

    def quota_share(self, now: float) -> float | None:
        """The present pace as a share of the quota, in the currency that comes nearest; None without a quota.

        What was asked arrives part by part, so that the share of a moment may be over 1.
        """
        rates = self.rates(now)
        paces = (rates.requests, rates.tokens, rates.rows)
        return max((pace / limit for pace, limit in zip(paces, self._quota, strict=True) if limit is not None), default=None)

    def seconds_left(self, now: float) -> float | None:
        """At the present pace; None when nothing moves."""
        pace = self.rates(now).rows
        return max(0, self.pending - self.rows) / pace if pace else None
