"""What an account may use: requests, tokens and inputs, refilled evenly, changed by a schedule, with OpenAI's rate headers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_MINUTE = 60.0
_ROUNDING_S = 1e-6  # who waited exactly as long as told is not turned away again over a rounding error

Limit = Annotated[float, Field(gt=0)]
Limits = dict[str, float | None]


class QuotaChange(BaseModel):
    """New limits, ``at_s`` seconds after the first request that reached the account. None leaves a limit as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_s: Annotated[float, Field(ge=0)]
    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    inputs_per_minute: Limit | None = None

    def limits(self) -> Limits:
        """The limits that it changes, by currency."""
        limits = {"requests": self.requests_per_minute, "tokens": self.tokens_per_minute, "inputs": self.inputs_per_minute}
        return {name: limit for name, limit in limits.items() if limit is not None}


@dataclass(frozen=True)
class QuotaStep:
    """The limits from ``at_s`` until the next step; None is no limit."""

    at_s: float
    per_minute: Limits


@dataclass
class _Bucket:
    """Refills evenly and holds at most ``capacity``."""

    per_minute: float
    capacity: float
    level: float

    def refill(self, seconds: float) -> None:
        self.level = min(self.capacity, self.level + self.per_minute * seconds / _MINUTE)

    def seconds_until(self, amount: float) -> float:
        possible = amount <= max(self.per_minute, self.capacity)
        needed = min(amount, self.capacity) if possible else amount
        return max(0.0, (needed - self.level) * _MINUTE / self.per_minute)


@dataclass(frozen=True)
class Verdict:
    """Whether a request is within the quota, OpenAI's headers that say so, the seconds until it would be, and the currency
    (requests, tokens, inputs) that it has to wait for longest."""

    allowed: bool
    headers: dict[str, str]
    wait_s: float = 0.0
    scarce: str = ""


class Quota:
    """One account's quota.

    A request that is turned away costs nothing, unless refused ones are charged: then it takes what is left, up to its cost, and
    who keeps asking is kept out. One that is larger than a whole minute's quota can never pass. One that is
    larger than the bucket (possible when ``burst_s`` is short) passes when the bucket is full and is paid off before the next.

    Args:
        clock: gives seconds; only their differences count.
        inputs_per_minute: texts; None does not limit them.
        burst_s: how many seconds of quota an account may save up (never less than one request). It starts with that much.
        schedule: changes to come, counted from the first request (:meth:`begin`).
        charge_refused: whether requests that are turned away are charged.
    """

    def __init__(
        self,
        requests_per_minute: float,
        tokens_per_minute: float,
        clock: Callable[[], float],
        inputs_per_minute: float | None = None,
        *,
        burst_s: float = _MINUTE,
        schedule: Iterable[QuotaChange] = (),
        charge_refused: bool = False,
    ) -> None:
        self._clock, self._burst_s, self._charge_refused = clock, burst_s, charge_refused
        self._began: float | None = None
        self._refilled_s = 0.0
        self._schedule = deque(sorted(schedule, key=lambda change: change.at_s))
        self._buckets: dict[str, _Bucket] = {}
        self._steps: list[QuotaStep] = []
        self._set({"requests": requests_per_minute, "tokens": tokens_per_minute, "inputs": inputs_per_minute})

    def begin(self) -> None:
        """The first request has come: the schedule starts to count. Later calls do nothing."""
        self._began = self._clock() if self._began is None else self._began

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first request."""
        return 0.0 if self._began is None else self._clock() - self._began

    def steps(self) -> list[QuotaStep]:
        """The limits so far, oldest first."""
        self._advance()
        return list(self._steps)

    def change(self, requests_per_minute: float, tokens_per_minute: float, inputs_per_minute: float | None = None) -> None:
        """Set new limits and drop the rest of the schedule; what is saved up beyond the new limits is lost. A currency limited
        for the first time starts full."""
        self._advance()
        self._schedule.clear()
        self._set({"requests": requests_per_minute, "tokens": tokens_per_minute, "inputs": inputs_per_minute})

    def take(self, tokens: int, inputs: int = 1) -> Verdict:
        """Charge one request of this many tokens and texts, or turn it away."""
        self.begin()
        self._advance()
        costs = {"requests": 1.0, "tokens": float(tokens), "inputs": float(inputs)}
        wait, scarce = self._wait(costs)
        if wait > _ROUNDING_S:
            if self._charge_refused:
                for name, bucket in self._buckets.items():
                    bucket.level = max(bucket.level - costs[name], min(bucket.level, 0.0))
                wait, scarce = self._wait(costs)
            hints = {"retry-after": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(wait * 1000))}
            return Verdict(False, self._headers() | hints, wait, scarce)
        for name, bucket in self._buckets.items():
            bucket.level -= costs[name]
        return Verdict(True, self._headers())

    def _wait(self, costs: dict[str, float]) -> tuple[float, str]:
        """Seconds until a request of these costs would pass, and the currency it waits for longest."""
        return max((bucket.seconds_until(costs[name]), name) for name, bucket in self._buckets.items())

    def _advance(self) -> None:
        now = self.elapsed_s
        while self._schedule and self._schedule[0].at_s <= now:
            change = self._schedule.popleft()
            self._refill(change.at_s)
            self._set(self._steps[-1].per_minute | change.limits())
        self._refill(now)

    def _refill(self, at_s: float) -> None:
        for bucket in self._buckets.values():
            bucket.refill(at_s - self._refilled_s)
        self._refilled_s = at_s

    def _set(self, per_minute: Limits) -> None:
        old = self._buckets
        self._buckets = {}
        for name, limit in per_minute.items():
            if limit is not None:
                capacity = max(limit * self._burst_s / _MINUTE, 1.0)
                self._buckets[name] = _Bucket(limit, capacity, min(capacity, old[name].level) if name in old else capacity)
        self._steps.append(QuotaStep(self._refilled_s, per_minute))

    def _headers(self) -> dict[str, str]:
        headers = {}
        for name in ("requests", "tokens"):
            bucket = self._buckets[name]
            headers[f"x-ratelimit-limit-{name}"] = str(int(bucket.per_minute))
            headers[f"x-ratelimit-remaining-{name}"] = str(max(0, int(bucket.level)))
            headers[f"x-ratelimit-reset-{name}"] = go_duration(bucket.seconds_until(bucket.capacity))
        return headers


def go_duration(seconds: float) -> str:
    """A Go duration as OpenAI writes it: ``20ms``, ``1.5s``, ``6m0s``."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"
