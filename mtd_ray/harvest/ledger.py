"""The policy of a budget: dollars are claimed in storage before they are spent. On a plain object store, without Ray.

A claim is raised in three steps: write the higher one, read all, and keep it only when their sum is within the cap. Of two drivers
that raise at once the later writer sees the other's claim, so that the sum of what is kept never passes the cap.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import SystemRandom

from mtd_ray.harvest.claims import Claim, Claims
from mtd_ray.harvest.table import dollars
from mtd_ray.teachers import BudgetSpent

# A claim is raised by what this time costs at the present pace, and by no more than this share of the cap: what a crash leaves
# claimed and unspent stays counted for ever.
_AHEAD_S = 10.0
_LARGEST_SHARE = 0.01
_FASTEST_GROWTH = 4.0
# Two drivers that get in each other's way both step back; each tries again at its own time.
_TRIES = 5
_LONGEST_NAP_S = 0.2
# Sums of dollars in floating point are exact to this.
_ROUNDING_USD = 1e-9


@dataclass
class _Account:
    """One teacher's money in this incarnation. ``written``: storage may hold its claim. ``chunk``: what it was last raised by."""

    claimed: float = 0.0
    spent: float = 0.0
    reserved: float = 0.0
    written: bool = False
    chunk: float = 0.0
    raised_at: float = float("-inf")

    @property
    def used(self) -> float:
        return self.spent + self.reserved

    @property
    def free(self) -> float:
        return self.claimed - self.used


class Ledger:
    """One incarnation's money: what it has claimed, what is reserved of that, what is spent.

    :meth:`take` and :meth:`settle` only count and return at once. :meth:`claim` and :meth:`close` read and write storage; one
    thread at a time may be in them.

    Args:
        claims: the teachers' claims in storage.
        name: of this incarnation; never used before.
        cap_usd: what all claims together may come to; infinite to refuse nothing. Nobody else's claims are then read.
        teachers: fingerprints.
        clock: gives seconds.
        nap: waits that many seconds.
    """

    def __init__(
        self,
        claims: Claims,
        name: str,
        cap_usd: float,
        teachers: Iterable[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        nap: Callable[[float], None] = time.sleep,
    ) -> None:
        self._claims, self._name, self._cap = claims, name, cap_usd
        self._clock, self._nap = clock, nap
        self._accounts = {teacher: _Account() for teacher in teachers}
        self._counting = threading.Lock()
        self._closed = False

    def take(self, teacher: str, usd: float) -> bool:
        """Reserve money that is claimed already; False when there is not that much of it. BudgetSpent when the ledger is closed."""
        with self._counting:
            account = self._accounts[teacher]
            if self._closed:
                raise BudgetSpent("the harvest has ended: its budget is closed")
            if usd > account.free + _ROUNDING_USD:
                return False
            account.reserved += usd
            return True

    def settle(self, teacher: str, reserved: float, spent: float) -> None:
        """Book what a reservation came to; the rest of it is free again."""
        with self._counting:
            account = self._accounts[teacher]
            left = account.reserved - reserved
            # What rounding leaves of money that is all settled must not look like a request under way.
            account.reserved = left if left > _ROUNDING_USD else 0.0
            account.spent += spent

    @property
    def reserved_usd(self) -> float:
        """Dollars of requests that are under way."""
        with self._counting:
            return sum(account.reserved for account in self._accounts.values())

    def claim(self, teacher: str, usd: float) -> bool:
        """Claim enough to reserve ``usd``; False when the cap leaves no room for it now."""
        for _ in range(_TRIES):
            others = self._others()
            wanted = self._wanted(teacher, usd, room=self._cap - others - self._claimed())
            if wanted is None and self._free_others(teacher):
                wanted = self._wanted(teacher, usd, room=self._cap - others - self._claimed())
            if wanted is None:
                return False
            if self._raise(teacher, wanted):
                return True
            self._nap(SystemRandom().uniform(0.0, _LONGEST_NAP_S))
        return False

    def refuse(self) -> None:
        """Grant nothing any more: from now on :meth:`take` raises BudgetSpent."""
        with self._counting:
            self._closed = True

    def close(self) -> None:
        """Write down what was really spent. Requests still under way count in full: nobody will say what they cost."""
        self.refuse()
        for teacher, account in self._accounts.items():
            if account.written or account.used:
                self._claims.write(teacher, self._name, Claim(max(account.claimed, account.used), account.used, closed=True))

    def spent_message(self) -> str:
        """What to tell a person when there is no room for one more request."""
        others = self._others()
        with self._counting:
            used = sum(account.used for account in self._accounts.values())
        return (
            f"harvest.budget_usd reached: {dollars(used + others)} spent of "
            f"{dollars(self._cap)}, too little is left for one more request; raise it and run again, what is paid for stays"
        )

    def _others(self) -> float:
        """Dollars of all claims but this incarnation's; with an infinite cap they do not matter."""
        return 0.0 if math.isinf(self._cap) else sum(self._claims.counted_usd(without=self._name).values())

    def _claimed(self) -> float:
        with self._counting:
            # A request that cost more than was reserved for it may have used more than was claimed.
            return sum(max(account.claimed, account.used) for account in self._accounts.values())

    def _wanted(self, teacher: str, usd: float, *, room: float) -> float | None:
        """Dollars to raise the claim by: what is needed, and some more to spend without asking storage each time."""
        with self._counting:
            account = self._accounts[teacher]
            needed = max(0.0, usd - max(0.0, account.free))
            if needed > room:
                return None
            pace = min(_FASTEST_GROWTH, _AHEAD_S / max(self._clock() - account.raised_at, 1e-3))
            return min(max(needed, min(account.chunk * pace, self._cap * _LARGEST_SHARE)), room)

    def _raise(self, teacher: str, amount: float) -> bool:
        """Write the raised claim and keep it if all claims together are within the cap; else take it back."""
        with self._counting:
            account = self._accounts[teacher]
            before, spent = max(account.claimed, account.used), account.spent
            account.written = True  # also if storage fails at one of the next steps: closing then puts it right
        self._claims.write(teacher, self._name, Claim(before + amount, spent, closed=False))
        if self._others() + self._claimed() + amount > self._cap + _ROUNDING_USD:
            self._claims.write(teacher, self._name, Claim(before, spent, closed=False))
            return False
        with self._counting:
            account.claimed, account.chunk, account.raised_at = before + amount, amount, self._clock()
        return True

    def _free_others(self, teacher: str) -> bool:
        """Give back what is claimed for other teachers and not in use; whether there was any."""
        lowered: dict[str, Claim] = {}
        with self._counting:
            for name, account in self._accounts.items():
                if name != teacher and account.free > 0:
                    account.claimed = account.used
                    lowered[name] = Claim(account.claimed, account.spent, closed=False)
        for name, claim in lowered.items():
            self._claims.write(name, self._name, claim)
        return bool(lowered)
