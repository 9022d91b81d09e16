"""When a request may be repeated: how long to wait, and how many repeats the requests of a client may cause together."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

_CREDITS_AT_FIRST = 10.0
_CREDITS_PER_REQUEST = 0.1
_MOST_CREDITS = 100.0  # what a good week has earned must not be spent on one bad minute
_TRICKLE_S = 30.0
_LOOK_AGAIN_S = 0.5


@dataclass(frozen=True)
class RetryPolicy:
    """When and how long to wait before asking again. Time and chance are parameters so that tests need no real ones.

    Attributes:
        attempts: tries of one request while the server fails or the connection breaks, if it never answered any request.
        first_delay_s, longest_delay_s: the wait is drawn evenly from 0 to a bound that doubles from the first to the longest
            ("full jitter"), so that workers do not come back together.
        patience_s: how long one request may wait, after rejections or for a server that answered others before, before the
            teacher counts as unavailable. Waiting for the quota does not count.
        grace_s: how long requests that are on their way, and so paid for, may still come in after another one failed for good.
        sleep, chance, clock: wait some seconds; draw from 0 to 1; seconds that only grow.
    """

    attempts: int = 7
    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    patience_s: float = 900.0
    grace_s: float = 10.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the given attempt (from 0)."""
        return self.chance() * min(self.longest_delay_s, self.first_delay_s * 2.0 ** min(attempt, 60))


class RetryCredits:
    """Keeps repeats to a tenth of the first attempts, so that a failing server is not asked more, but less.

    A client starts with ten credits and earns a tenth with each first attempt; a repeat costs one. A slow trickle of one in half a
    minute lets a server that is down be looked at again. Who has failed most goes first: a server that is gone is then soon told
    of, where a fair turn would have every request wait for its last attempt. Used by one thread.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._left = _CREDITS_AT_FIRST
        self._counted_to = policy.clock()
        self._waiting: list[int] = []

    def earn(self) -> None:
        """A first attempt is made."""
        self._left = min(_MOST_CREDITS, self._left + _CREDITS_PER_REQUEST)

    async def spend(self, failures: int, patience_s: float) -> float | None:
        """Wait for leave to repeat a request that failed so many times.

        Returns:
            The seconds waited; None when ``patience_s`` were not enough.
        """
        waited = 0.0
        self._waiting.append(failures)
        try:
            while not self._take(failures):
                if waited >= patience_s:
                    return None
                await self._policy.sleep(_LOOK_AGAIN_S)
                waited += _LOOK_AGAIN_S
            return waited
        finally:
            self._waiting.remove(failures)

    def _take(self, failures: int) -> bool:
        now = self._policy.clock()
        self._left = min(_MOST_CREDITS, self._left + (now - self._counted_to) / _TRICKLE_S)
        self._counted_to = now
        if self._left < 1.0 or failures < max(self._waiting):
            return False
        self._left -= 1.0
        return True
