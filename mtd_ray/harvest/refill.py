"""How fast a provider refills an account's quota, learnt from nothing but the requests it turns away.

A rate limit is a bucket that refills evenly; a request that finds too little in it is turned away and costs nothing. So between two
rejections the bucket went from empty to empty, and what was accepted in between is what was refilled: exactly, whatever the
bucket's size and whatever unit requests are counted in. Times and amounts are those of the moment a request was granted, so that
answers which come late or out of order change nothing.

The pace is a little above that rate, for only a rejection can confirm it: about one request in ``_CYCLE``. What then tells of a
change is the level the bucket should have by the measured rate. A rejection while it should be well filled: the quota fell. None
though it should be empty: the quota grew.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

_LN2 = math.log(2.0)

# A new account: five requests a second, and t² times that after t seconds.
_FIRST_PER_S = 5.0
# Requests from one rejection to the next, at most and at least (as few as the measurement has seen, when it has seen few).
_CYCLE, _SHORTEST_CYCLE = 170, 8
# Measurements reach back this many requests, and count from this many on.
_REMEMBERED, _ENOUGH = 800, 6
# The least step of a climb; how fast its excess doubles (seconds, and answer times); how fast the pace itself doubles at most; how
# many rates it gains per second further up, where it doubles in this time at least.
_STEP, _DOUBLING_S, _DOUBLING_ANSWERS, _FASTEST_DOUBLING_S = 0.02, 0.4, 2.5, 1.5
_FURTHER_UP, _SLOWEST_DOUBLING_S = 0.3, 6.0
# A climb that ended this far above the rate found another quota; one that ended below it only corrects the measurement.
_ANOTHER_QUOTA = 1.25
# A few rejections in a row prove a fall but not its depth: one cut goes down to this share at most.
_DEEPEST_FALL = 0.25
# After running into a limit whose height is unknown: wait for what is under way, it tells.
_HOLD_S = 0.3
# What a pause left in the bucket is used up over this time, at no more than this times the rate. What would take longer is not
# counted on: nobody knows how much the bucket holds.
_CATCH_UP_S, _CATCH_UP, _SAVED_S, _SAVED_REQUESTS = 3.0, 1.5, 3.0, 8
# Unused pace is made up for this long.
_BURST_S = 0.1
# A provider that turns everything away is still asked this often.
_SLOWEST_S = 10.0
_INSTANT_S = 1e-3


@dataclass(frozen=True, order=True)
class Mark:
    """A request that found the bucket empty: what was granted before it, when it was granted, and how much it asked for."""

    before: float
    at: float
    amount: float


class Refill:
    """The pace of one currency, and the rate it follows.

    Args:
        now: seconds, of the clock that all later times are of.
        granted: the total granted so far; marks count in it.
        rate: per second, where it is known from before.
        typical: amount of a usual request, where known.
    """

    def __init__(self, now: float, granted: float = 0.0, *, rate: float = 0.0, typical: float = 0.0) -> None:
        self._now, self._granted, self._typical, self._grants = now, granted, typical, 0
        self._rate = self._pace = rate
        self._ceiling = math.inf
        self._marks: list[Mark] = []
        self._measured = 0.0
        self._climbing, self._climbing_since, self._ramp_s = True, now, 0.0
        self._debt = 0.0
        self._hold_until = self._wanted_until = -math.inf
        self._answer_s = 0.1

    @property
    def rate(self) -> float:
        """Per second; 0.0 as long as nothing was ever turned away."""
        return self._rate

    def wait(self, amount: float, now: float) -> float:
        """Seconds until a request of this amount may go, by the present pace; 0.0 is at once."""
        self._typical = self._typical or amount
        self._pace = self._pace or amount * _FIRST_PER_S
        self._advance(now)
        wait = max(0.0, self._hold_until - now, self._debt / self._pace)
        if wait > 0.0:
            self._wanted_until = now + wait + 0.5
        return wait

    def grant(self, amount: float) -> None:
        """A request goes now."""
        self._grants += 1
        self._typical += (amount - self._typical) * max(1.0 / self._grants, 0.02)
        self._granted += amount
        self._debt += amount

    def rejected(self, mark: Mark, now: float) -> None:
        """A request was turned away."""
        self._advance(now)
        self._answer_s += 0.1 * (now - mark.at - self._answer_s)
        if not self._marks:
            self._meet_limit(mark, now)
        elif mark.before <= self._marks[0].before:
            return
        elif self._climbing and mark.at >= self._climbing_since and self._level(mark.at, mark.before) < -self._noise():
            self._end_climb(mark, now)
        else:
            self._measure(mark)
        self._climbing = False
        self._rate = max(self._rate, self._typical / _SLOWEST_S)
        self._pace = min(self._pace, self._rate)
        self._debt = min(self._debt, 2.0 * self._typical)

    def _advance(self, now: float) -> None:
        seconds, self._now = now - self._now, max(now, self._now)
        if seconds <= 0.0:
            return
        self._debt = max(self._debt - self._pace * seconds, -_BURST_S * self._pace)
        if now > self._hold_until:
            self._rate, self._ceiling = min(self._rate, self._ceiling), math.inf
        level = self._level(now, self._granted) if self._marks else 0.0
        if self._marks:
            self._judge(level, now)
        if self._climbing:
            self._climb(seconds)
        else:
            saved = max(0.0, level - self._typical) / (_CATCH_UP_S * self._rate)
            self._pace = self._rate * min(_CATCH_UP, 1.0 + self._excess() + saved)

    def _judge(self, level: float, now: float) -> None:
        """Whether the level the bucket should have calls for climbing."""
        if level > max(_SAVED_REQUESTS * self._typical, _SAVED_S * self._rate):
            self._marks, self._measured = [], 0.0
            self._climbing, self._climbing_since = True, now
        elif level > 0.0:
            self._climbing = False
        elif not self._climbing and level < -max(0.5 * self._typical, 0.3 * self._noise()):
            self._climbing, self._climbing_since = True, now
            self._pace = max(self._pace, self._rate * (1.0 + max(_STEP, self._excess())))

    def _climb(self, seconds: float) -> None:
        if self._now > self._wanted_until or self._now <= self._hold_until:
            return  # nobody is held back by the pace, so it is no test of the quota
        if not self._rate:
            self._ramp_s += seconds
            self._pace = self._typical * _FIRST_PER_S * (1.0 + self._ramp_s) ** 2
            return
        excess = max(self._pace / self._rate - 1.0, _STEP)
        doubling_s = (_DOUBLING_S + _DOUBLING_ANSWERS * self._answer_s) * (1.0 + excess) / excess
        growth = min(
            _LN2 / doubling_s, _LN2 / _FASTEST_DOUBLING_S, max(_FURTHER_UP * self._rate / self._pace, _LN2 / _SLOWEST_DOUBLING_S)
        )
        self._pace *= math.exp(growth * seconds)

    def _meet_limit(self, mark: Mark, now: float) -> None:
        """The first rejection, or the first after a time in which the bucket filled up by nobody knows how much."""
        if not self._rate:
            self._stand_by(mark, now, self._pace / 2.0)
        self._marks, self._measured = [mark], 0.0

    def _end_climb(self, mark: Mark, now: float) -> None:
        last = self._marks[-1]
        accepted = mark.before - last.before - last.amount
        average = accepted / (mark.at - last.at + _INSTANT_S)
        if self._pace > _ANOTHER_QUOTA * self._rate:
            # The average is from before and after the change, the pace is from a bucket that had filled up: the truth lies between.
            self._stand_by(mark, now, max(self._rate, math.sqrt(min(average, self._pace) * self._pace)))
        else:
            self._marks, self._rate, self._measured = [last, mark], average, accepted

    def _stand_by(self, mark: Mark, now: float, then: float) -> None:
        """Pause; the requests under way tell how much lower than the pace the rate is, and it is at most ``then``."""
        self._rate, self._ceiling, self._hold_until = self._pace, then, now + _HOLD_S
        self._marks, self._measured = [mark], 0.0

    def _measure(self, mark: Mark) -> None:
        """The rate over all that is remembered; if it has fallen, over the shortest time that shows it."""
        bisect.insort(self._marks, mark)
        marks, last, accepted, seconds = self._marks, self._marks[-1], 0.0, 0.0
        for index in range(len(marks) - 2, -1, -1):
            accepted += marks[index + 1].before - marks[index].before - marks[index].amount
            seconds = max(last.at - marks[index].at, 0.0) + _INSTANT_S
            if self._rate * seconds - accepted > self._noise():
                del marks[:index]
                self._rate, self._measured = max(accepted / seconds, self._rate * _DEEPEST_FALL), accepted
                return
        if accepted >= _ENOUGH * self._typical:
            self._rate, self._measured = accepted / seconds, accepted
        while len(marks) > 2 and last.before - marks[1].before > _REMEMBERED * self._typical:
            del marks[0]

    def _level(self, at: float, granted: float) -> float:
        """What the bucket should hold, by the measured rate."""
        last = self._marks[-1]
        return self._rate * (at - last.at) - (granted - last.before - last.amount)

    def _noise(self) -> float:
        """How far the level may be off, as requests do not arrive in the order in which they were granted."""
        return self._typical + math.sqrt(self._typical * self._rate * self._answer_s)

    def _excess(self) -> float:
        """How far above the rate to go, so that a rejection comes in time; more after a short measurement."""
        return 1.0 / min(max(self._measured / self._typical, _SHORTEST_CYCLE), _CYCLE)
