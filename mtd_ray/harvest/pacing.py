"""How fast to ask a provider: the policy, on an injected clock and without Ray.

Requests are spread evenly (a quota that is used in bursts is what gets rejected). A rejection lowers the pace by a fixed factor, at
most once per window because requests sent together are rejected together; afterwards the pace recovers by a constant amount per
second (additive increase, multiplicative decrease: Chiu and Jain, 1989).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from mtd_ray.config import QuotaConfig

_CUT = 0.85
_CUT_WINDOW_S = 5.0
_RECOVERY_PER_S = 0.005
_LOWEST_SHARE = 0.01
_BURST_S = 0.5
_MEASURED_S = 10.0


class _Lane:
    """One currency: what was granted is paid off at an even rate, and nothing more is granted until it is."""

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._free_at = now

    def wait(self, now: float) -> float:
        return max(0.0, self._free_at - now)

    def charge(self, amount: float, share: float, now: float) -> None:
        self._free_at = max(self._free_at, now - _BURST_S) + amount / (self._per_second * share)


class Pacer:
    """Grants requests so that the account's quota is used and not overrun.

    An account without a configured quota is not held back until its first rejection; the token rate measured by then becomes its
    quota, which recovery may raise without end.

    Args:
        quota: the account's limits per minute.
        clock: gives seconds.
    """

    def __init__(self, quota: QuotaConfig, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = self._now = clock()
        self._share = 1.0
        self._paused_until = self._cut_at = float("-inf")
        limits = {"requests": quota.requests_per_minute, "tokens": quota.tokens_per_minute, "inputs": quota.inputs_per_minute}
        self._lanes = {name: _Lane(limit / 60.0, self._now) for name, limit in limits.items() if limit is not None}
        self._highest_share = 1.0 if self._lanes else float("inf")
        self._granted: deque[tuple[float, int]] = deque()

    @property
    def share(self) -> float:
        """The present pace as a share of the quota."""
        return self._share

    def ask(self, requests: int, tokens: int, inputs: int) -> float:
        """0.0 when granted now; else the seconds after which to ask again.

        Nothing is reserved for who was told to wait, so a worker that dies holds nothing.
        """
        self._advance()
        wait = max([self._paused_until - self._now, 0.0, *(lane.wait(self._now) for lane in self._lanes.values())])
        if wait > 0.0:
            return wait
        self._charge({"requests": requests, "tokens": tokens, "inputs": inputs})
        return 0.0

    def report(self, *, rejected: bool, retry_after: float | None) -> None:
        """Learn how a request went. ``retry_after`` (seconds) holds back everyone; a rejection also slows down."""
        self._advance()
        if retry_after is not None:
            self._paused_until = max(self._paused_until, self._now + retry_after)
        if rejected and self._now - self._cut_at >= _CUT_WINDOW_S:
            self._cut_at = self._now
            self._lanes = self._lanes or {"tokens": _Lane(self._measured_rate(), self._now)}
            self._share = max(_LOWEST_SHARE, self._share * _CUT)

    def _advance(self) -> None:
        now = self._clock()
        recovering = now - max(self._now, self._paused_until)
        if recovering > 0 and self._lanes:
            self._share = min(self._highest_share, self._share + recovering * _RECOVERY_PER_S)
        self._now = max(self._now, now)

    def _charge(self, amounts: Mapping[str, int]) -> None:
        for name, lane in self._lanes.items():
            lane.charge(amounts[name], self._share, self._now)
        self._granted.append((self._now, amounts["tokens"]))
        while self._granted[0][0] < self._now - _MEASURED_S:
            self._granted.popleft()

    def _measured_rate(self) -> float:
        """Tokens per second granted lately."""
        since = max(self._started, self._now - _MEASURED_S)
        recent = sum(tokens for at, tokens in self._granted if at >= since)
        return max(1.0, recent / max(1.0, self._now - since))
