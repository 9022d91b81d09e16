"""The sandbox provider's record of what was used, second by second, and how much of the quota that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mtd_ray.sandbox.provider_quota import QuotaStep

CURRENCIES = ("requests", "tokens", "inputs")
_MOST_SECONDS = 21_600  # six hours; older seconds are forgotten
_MINUTE = 60.0


@dataclass
class _Second:
    requests: int = 0
    tokens: int = 0
    inputs: int = 0
    rejected: int = 0


class Timeline:
    """Counts per second since the first request; of the last six hours in which something was asked."""

    def __init__(self) -> None:
        self._seconds: dict[int, _Second] = {}
        self._last_s = 0.0

    def accept(self, at_s: float, tokens: int, inputs: int) -> None:
        """A request was within the quota."""
        second = self._second(at_s)
        second.requests += 1
        second.tokens += tokens
        second.inputs += inputs

    def reject(self, at_s: float) -> None:
        """A request was answered with a 429."""
        self._second(at_s).rejected += 1

    def to_json(self, steps: Sequence[QuotaStep]) -> dict[str, Any]:
        """``timeline``: a row for each second up to the last request, ``second``, ``requests``, ``tokens``, ``inputs`` accepted,
        ``rejected``, and what the quota gave in that second, ``requests_allowed``, ``tokens_allowed``, ``inputs_allowed`` (null:
        no limit); ``last_request_s``; ``quota``: the limits per minute, each with the second from which they held."""
        limits = [{"at_s": step.at_s, **step.per_minute} for step in steps]
        seconds = range(min(self._seconds), max(self._seconds) + 1) if self._seconds else range(0)
        rows = [
            {"second": at, **asdict(self._seconds.get(at, _Second()))}
            | {f"{name}_allowed": allowed(limits, name, at, at + 1) for name in CURRENCIES}
            for at in seconds
        ]
        return {"timeline": rows, "last_request_s": self._last_s, "quota": limits}

    def _second(self, at_s: float) -> _Second:
        self._last_s = at_s
        at = int(at_s)
        if at not in self._seconds:
            self._seconds[at] = _Second()
            if len(self._seconds) > _MOST_SECONDS:
                del self._seconds[next(iter(self._seconds))]
        return self._seconds[at]


def allowed(steps: Sequence[Mapping[str, float | None]], currency: str, start_s: float, end_s: float) -> float | None:
    """What a quota that changes in ``steps`` (the ledger's ``quota``) gives from ``start_s`` to ``end_s``: its integral; None where
    it had no limit. What was saved up before the start (``burst_s``) comes on top."""
    total = 0.0
    ends = [step["at_s"] or 0.0 for step in steps[1:]] + [end_s]
    for step, until in zip(steps, ends, strict=True):
        seconds = min(until, end_s) - max(step["at_s"] or 0.0, start_s)
        if seconds > 0:
            limit = step[currency]
            if limit is None:
                return None
            total += limit * seconds / _MINUTE
    return total


@dataclass(frozen=True)
class QuotaUse:
    """Shares of the quota that were used (None: no limit; above 1 when savings were spent), and of all requests the rejected."""

    requests: float | None
    tokens: float | None
    inputs: float | None
    rejected: float


def quota_use(ledger: Mapping[str, Any], start_s: int = 0, end_s: int | None = None) -> QuotaUse:
    """How much of the quota was used from second ``start_s`` to before second ``end_s`` (default: to the last request).

    Args:
        ledger: what :meth:`mtd_ray.sandbox.provider_server.ProviderServer.ledger` gives.
    """
    end = ledger["last_request_s"] if end_s is None else end_s
    rows = [row for row in ledger["timeline"] if start_s <= row["second"] and (end_s is None or row["second"] < end_s)]
    shares: dict[str, float | None] = {}
    for name in CURRENCIES:
        most = allowed(ledger["quota"], name, start_s, end)
        shares[name] = sum(row[name] for row in rows) / most if most else None
    rejected = sum(row["rejected"] for row in rows)
    asked = rejected + sum(row["requests"] for row in rows)
    return QuotaUse(**shares, rejected=rejected / asked if asked else 0.0)
