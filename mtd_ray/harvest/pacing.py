"""How fast to ask a provider: the policy, on an injected clock and without Ray.

What the recipe or the provider's headers say about the quota is a cap that is used to the full and never passed. Below it, or
without one, :class:`mtd_ray.harvest.refill.Refill` finds the pace at which the provider turns next to nothing away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from mtd_ray.config import QuotaConfig
from mtd_ray.harvest.refill import Mark, Refill
from mtd_ray.teachers.base import RateHints

Currency = Literal["requests", "tokens", "inputs"]
CURRENCIES: tuple[Currency, ...] = ("requests", "tokens", "inputs")

_BURST_S = 0.5
_LITTLE_S, _ENOUGH_S = 0.25, 0.5


class Amounts(NamedTuple):
    """What a request costs, or many of them together."""

    requests: float
    tokens: float
    inputs: float

    def of(self, currency: Currency) -> float:
        """The amount in one currency."""
        return float(getattr(self, currency))


class Ticket(NamedTuple):
    """A granted request: when that was, what had been granted before it, and what it costs."""

    at: float
    before: Amounts
    amounts: Amounts


class Learnt(NamedTuple):
    """What rejections have taught: a rate per second in one currency."""

    currency: Currency
    per_second: float


class _Cap:
    """A known limit: what was granted is paid off at its rate, and nothing more is granted until it is."""

    def __init__(self, per_second: float, now: float) -> None:
        self.per_second = per_second
        self._free_at = now

    def wait(self, now: float) -> float:
        return max(0.0, self._free_at - now)

    def charge(self, amount: float, now: float) -> None:
        self._free_at = max(self._free_at, now - _BURST_S) + amount / self.per_second


class Pacer:
    """Grants requests so that the account's quota is used and not overrun.

    Args:
        quota: the account's limits per minute, as far as the recipe knows them.
        clock: gives seconds.
        currency: what an account is limited in of which nothing is known.
    """

    def __init__(self, quota: QuotaConfig, clock: Callable[[], float], currency: Currency = "tokens") -> None:
        self._clock, self._currency = clock, currency
        now = clock()
        limits = (quota.requests_per_minute, quota.tokens_per_minute, quota.inputs_per_minute)
        self._configured = {name: limit for name, limit in zip(CURRENCIES, limits, strict=True) if limit is not None}
        self._caps = {name: _Cap(limit / 60.0, now) for name, limit in self._configured.items()}
        self._refill = None if self._caps else Refill(now)
        self._granted = Amounts(0.0, 0.0, 0.0)
        self._paused_until = float("-inf")

    @property
    def learnt(self) -> Learnt | None:
        """The rate that rejections have taught; None before the first."""
        return Learnt(self._currency, self._refill.rate) if self._refill is not None and self._refill.rate else None

    def wait(self, amounts: Amounts) -> float:
        """Seconds after which to ask again; 0.0 when the request may be granted. Nothing is reserved for who waits."""
        now = self._clock()
        waits = [cap.wait(now) for cap in self._caps.values()]
        if self._refill is not None and (amount := amounts.of(self._currency)) > 0.0:
            waits.append(self._refill.wait(amount, now))
        return max([0.0, self._paused_until - now, *waits])

    def grant(self, amounts: Amounts) -> Ticket:
        """Let the request go now; to be called when :meth:`wait` gave 0.0."""
        now = self._clock()
        for name, cap in self._caps.items():
            cap.charge(amounts.of(name), now)
        if self._refill is not None:
            self._refill.grant(amounts.of(self._currency))
        ticket = Ticket(now, self._granted, amounts)
        self._granted = Amounts(*(before + amount for before, amount in zip(self._granted, amounts, strict=True)))
        return ticket

    def turned_away(self, ticket: Ticket) -> None:
        """Learn that a granted request was over the limit."""
        now = self._clock()
        if self._refill is None:
            self._currency = self._tightest()
            rate = self._caps[self._currency].per_second
            self._refill = Refill(now, self._granted.of(self._currency), rate=rate, typical=ticket.amounts.of(self._currency))
        before, amount = ticket.before.of(self._currency), ticket.amounts.of(self._currency)
        self._refill.rejected(Mark(before, ticket.at, amount), now)

    def heed(self, hints: RateHints) -> None:
        """Follow what the provider says: hold everyone back as long as it asks, and when little is left; keep to its limits."""
        now = self._clock()
        if hints.retry_after is not None:
            self._paused_until = max(self._paused_until, now + hints.retry_after)
        for name in CURRENCIES:
            if limit := hints.limits.get(name):
                self._limit(name, min(limit, self._configured.get(name, limit)) / 60.0, now)
            if (remaining := hints.remaining.get(name)) is not None and name in self._caps:
                left_s = remaining / self._caps[name].per_second
                if left_s < _LITTLE_S:
                    self._paused_until = max(self._paused_until, now + _ENOUGH_S - left_s)

    def adopt(self, learnt: Learnt) -> None:
        """Take over what was learnt before a restart, unless something is known already."""
        if self.learnt is None:
            self._currency = learnt.currency
            self._refill = Refill(self._clock(), self._granted.of(learnt.currency), rate=learnt.per_second)

    def _limit(self, name: Currency, per_second: float, now: float) -> None:
        if name not in self._caps or self._caps[name].per_second != per_second:
            self._caps[name] = _Cap(per_second, now)
        if self.learnt is None:
            self._refill = None  # no need to search for a quota that is told

    def _tightest(self) -> Currency:
        """The known limit of which the most has been used."""
        return max(self._caps, key=lambda name: self._granted.of(name) / self._caps[name].per_second)
