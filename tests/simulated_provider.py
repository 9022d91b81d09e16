"""A provider's bucket and the workers that ask it, on a simulated clock: what a pacing policy achieves, without waiting for it."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mtd_ray.config import QuotaConfig
from mtd_ray.harvest.pacing import Amounts, Currency, Pacer, Ticket
from mtd_ray.teachers.base import RateHints

USUAL = {"requests": 1.0, "tokens": 100.0, "inputs": 10.0}


@dataclass
class Bucket:
    """Refills by a schedule of ``(from second, per second)`` and holds ``burst_s`` seconds of the present rate."""

    schedule: Sequence[tuple[float, float]]
    burst_s: float
    level: float = 0.0
    at: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.rate(0.0) * self.burst_s

    def rate(self, now: float) -> float:
        return [rate for start, rate in self.schedule if start <= now][-1]

    def take(self, amount: float, now: float) -> float:
        """0.0 when it was taken; else the seconds until it could be."""
        for start in [start for start, _ in self.schedule if self.at < start <= now] + [now]:
            rate = self.rate(self.at)
            self.level = min(self.rate(start) * self.burst_s, self.level + rate * (start - self.at))
            self.at = start
        if self.level < min(amount, self.rate(now) * self.burst_s):
            return (amount - self.level) / self.rate(now)
        self.level -= amount
        return 0.0


@dataclass(frozen=True)
class Outcome:
    """Share of the quota used (what was saved up at the start counts as quota), and the rejected share of all requests."""

    used: float
    rejected: float
    requests: int


class Simulation:
    """Workers with some requests at once each, who never run out of work, against one bucket in one currency.

    Args:
        per_second: usual requests that the quota allows, by phase of ``phase_s`` seconds.
        spread: how much requests differ in size, as a share of the usual one.
        answer_s: mean time of an answer; each takes half to one and a half times that.
    """

    def __init__(
        self,
        quota: QuotaConfig,
        *,
        per_second: Sequence[float],
        phase_s: float,
        burst_s: float,
        currency: Currency = "tokens",
        answer_s: float = 0.1,
        spread: float = 0.5,
        at_once: int = 32,
        hints: bool = False,
        seed: int = 0,
    ) -> None:
        self._chance = random.Random(seed)
        self._now = 0.0
        self._pacer = Pacer(quota, lambda: self._now, currency)
        self._currency, self._answer_s, self._spread, self._hints = currency, answer_s, spread, hints
        schedule = [(phase * phase_s, rate * USUAL[currency]) for phase, rate in enumerate(per_second)]
        self._bucket = Bucket(schedule, burst_s)
        self._end = phase_s * len(schedule)
        self._allowed = sum(rate * phase_s for _, rate in schedule) + self._bucket.level
        self._events: list[tuple[float, int, str, Any]] = []
        self._order = itertools.count()
        self._waiting: deque[Amounts] = deque()
        self._wake_at = 0.0
        self._used, self._accepted, self._rejected = 0.0, 0, 0
        for _ in range(at_once):
            self._push(self._chance.random() * 0.05, "ask", self._request())

    def run(self) -> Outcome:
        while self._events[0][0] < self._end:
            self._now, _, kind, what = heapq.heappop(self._events)
            if kind == "wake" and self._now != self._wake_at:
                continue
            if kind == "ask":
                self._waiting.append(what)
            elif kind == "arrive":
                self._arrive(what)
            elif kind == "answer":
                self._answer(*what)
            self._serve()
        return Outcome(self._used / self._allowed, self._rejected / (self._accepted + self._rejected), self._accepted)

    def _serve(self) -> None:
        while self._waiting:
            wait = self._pacer.wait(self._waiting[0])
            if wait > 1e-7:
                if self._wake_at <= self._now or self._now + wait < self._wake_at:
                    self._wake_at = self._now + min(wait, 0.1)
                    self._push(self._wake_at, "wake", None)
                return
            ticket = self._pacer.grant(self._waiting.popleft())
            self._push(self._now + self._way(), "arrive", ticket)

    def _arrive(self, ticket: Ticket) -> None:
        amount = ticket.amounts.of(self._currency)
        wait = self._bucket.take(amount, self._now)
        self._used += amount if wait == 0.0 else 0.0
        self._accepted += wait == 0.0
        self._rejected += wait > 0.0
        self._push(self._now + self._way(), "answer", (ticket, wait))

    def _answer(self, ticket: Ticket, wait: float) -> None:
        if wait == 0.0:
            self._push(self._now, "ask", self._request())
            return
        self._pacer.turned_away(ticket)
        if self._hints:
            self._pacer.heed(RateHints(retry_after=wait))
        self._push(self._now + self._chance.random() * 0.5, "ask", ticket.amounts)

    def _way(self) -> float:
        return self._answer_s / 2 * self._chance.uniform(0.5, 1.5)

    def _request(self) -> Amounts:
        size = self._chance.uniform(1 - self._spread, 1 + self._spread)
        return Amounts(1.0, USUAL["tokens"] * size, USUAL["inputs"] * size)

    def _push(self, at: float, kind: str, what: Any) -> None:
        heapq.heappush(self._events, (at, next(self._order), kind, what))
