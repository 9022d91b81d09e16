"""The quota shared by all workers on all nodes: the pacing policy in one Ray actor, and the limiter a worker holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import RayActorError

from mtd_ray.config import ApiTeacher, QuotaConfig, Teacher
from mtd_ray.harvest.pacing import Pacer
from mtd_ray.teachers.base import NO_HINTS, RateHints, TeacherUnavailable

_LONGEST_NAP_S = 0.5
_ACTOR_PATIENCE_S = 120.0
_MOST_WAITERS = 100_000


class QuotaActor:
    """One account's :class:`Pacer`. Restarted by Ray when its node or process dies; the pace then starts from the quota again."""

    def __init__(self, quota: QuotaConfig) -> None:
        self._pacer = Pacer(quota, time.monotonic)
        self._turn = asyncio.Lock()

    async def acquire(self, requests: int, tokens: int, inputs: int) -> None:
        """Return when the request may be sent. Who asks first goes first."""
        async with self._turn:
            while (wait := self._pacer.ask(requests, tokens, inputs)) > 0.0:
                await asyncio.sleep(min(wait, _LONGEST_NAP_S))

    async def report(self, rejected: bool, hints: RateHints) -> None:
        self._pacer.report(rejected=rejected, retry_after=hints.retry_after)


_RemoteQuota: Any = ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=_MOST_WAITERS)(QuotaActor)


def account_of(teacher: ApiTeacher) -> tuple[str, ...]:
    """What a quota belongs to: teachers with the same value share one."""
    return (teacher.provider, teacher.base_url, teacher.api_key, teacher.model)


class SharedLimiter:
    """A worker's hold of the quota actor; see :class:`mtd_ray.teachers.Limiter`."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    @classmethod
    def start(cls, quota: QuotaConfig) -> SharedLimiter:
        """A limiter on an actor of its own, which lives as long as somebody holds this."""
        return cls(_RemoteQuota.remote(quota))

    async def acquire(self, requests: int, tokens: int, inputs: int) -> None:
        """Wait for the actor's grant.

        Raises:
            TeacherUnavailable: the actor stays away; Ray restarts it when there is a node to run it.
        """
        deadline = time.monotonic() + _ACTOR_PATIENCE_S
        while True:
            try:
                await self._actor.acquire.remote(requests, tokens, inputs)
                return
            except RayActorError:
                if time.monotonic() > deadline:
                    raise TeacherUnavailable("the quota actor did not come back; check the cluster's nodes and run again") from None
                await asyncio.sleep(_LONGEST_NAP_S)

    def report(self, *, rejected: bool, hints: RateHints = NO_HINTS) -> None:
        """Send word; what is lost when the actor dies at that moment is told again by the next answers."""
        self._actor.report.remote(rejected, hints)


def start_limiters(teachers: Mapping[str, Teacher]) -> dict[str, SharedLimiter]:
    """One limiter per account, by the name of each API teacher: teachers of one account share its quota."""
    accounts: dict[tuple[str, ...], SharedLimiter] = {}
    limiters = {}
    for name, teacher in teachers.items():
        if isinstance(teacher, ApiTeacher):
            account = account_of(teacher)
            accounts[account] = accounts.get(account) or SharedLimiter.start(teacher.quota)
            limiters[name] = accounts[account]
    return limiters
