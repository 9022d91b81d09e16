"""Time that passes only when somebody sleeps."""

from __future__ import annotations

import asyncio
from typing import Any

from mtd_ray.teachers.retry import RetryPolicy


class FakeTime:
    """``naps`` are the sleeps asked for, in seconds."""

    def __init__(self) -> None:
        self.naps: list[float] = []
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def policy(self, **changes: Any) -> RetryPolicy:
        """A retry policy in this time, without chance."""
        return RetryPolicy(**{"sleep": self.sleep, "clock": lambda: self.now, "chance": lambda: 0.5} | changes)
