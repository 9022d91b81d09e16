"""What an account may use: requests, tokens and inputs, refilled evenly over the minute, with OpenAI's rate headers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

_MINUTE = 60.0


@dataclass
class _Bucket:
    """Holds at most a minute's worth and refills evenly."""

    per_minute: float
    level: float

    def refill(self, seconds: float) -> None:
        self.level = min(self.per_minute, self.level + self.per_minute * seconds / _MINUTE)

    def seconds_until(self, amount: float) -> float:
        return max(0.0, (amount - self.level) * _MINUTE / self.per_minute)


@dataclass(frozen=True)
class Verdict:
    """Whether a request is within the quota, OpenAI's headers that say so, and the seconds until it would be."""

    allowed: bool
    headers: dict[str, str]
    wait_s: float = 0.0


class Quota:
    """One account's quota. ``clock`` gives seconds; ``inputs_per_minute`` None does not limit the texts.

    A request that is turned away costs nothing. One that is larger than a whole minute's quota can never pass.
    """

    def __init__(
        self,
        requests_per_minute: float,
        tokens_per_minute: float,
        clock: Callable[[], float],
        inputs_per_minute: float | None = None,
    ) -> None:
        self._clock = clock
        self._at = clock()
        self._buckets: dict[str, _Bucket] = {}
        self.change(requests_per_minute, tokens_per_minute, inputs_per_minute)

    def change(self, requests_per_minute: float, tokens_per_minute: float, inputs_per_minute: float | None = None) -> None:
        """Set new limits; what is saved up beyond them is lost. A currency limited for the first time starts full."""
        self._refill()
        limits = {"requests": requests_per_minute, "tokens": tokens_per_minute, "inputs": inputs_per_minute}
        old = self._buckets
        self._buckets = {
            name: _Bucket(limit, min(limit, old[name].level) if name in old else limit)
            for name, limit in limits.items()
            if limit is not None
        }

    def take(self, tokens: int, inputs: int = 1) -> Verdict:
        """Charge one request of this many tokens and texts, or turn it away."""
        self._refill()
        costs = {"requests": 1.0, "tokens": float(tokens), "inputs": float(inputs)}
        wait = max(bucket.seconds_until(costs[name]) for name, bucket in self._buckets.items())
        if wait > 0:
            hints = {"retry-after": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(wait * 1000))}
            return Verdict(False, self._headers() | hints, wait)
        for name, bucket in self._buckets.items():
            bucket.level -= costs[name]
        return Verdict(True, self._headers())

    def _refill(self) -> None:
        now = self._clock()
        for bucket in self._buckets.values():
            bucket.refill(now - self._at)
        self._at = now

    def _headers(self) -> dict[str, str]:
        headers = {}
        for name in ("requests", "tokens"):
            bucket = self._buckets[name]
            headers[f"x-ratelimit-limit-{name}"] = str(int(bucket.per_minute))
            headers[f"x-ratelimit-remaining-{name}"] = str(int(bucket.level))
            headers[f"x-ratelimit-reset-{name}"] = go_duration(bucket.seconds_until(bucket.per_minute))
        return headers


def go_duration(seconds: float) -> str:
    """A Go duration as OpenAI writes it: ``20ms``, ``1.5s``, ``6m0s``."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"
