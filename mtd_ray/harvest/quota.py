"""The quota shared by all workers on all nodes: the pacing policy in one Ray actor, and the limiter a worker holds."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from contextvars import ContextVar
from functools import reduce
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayActorError

from mtd_ray.config import ApiTeacher, CohereTeacher, QuotaConfig, Teacher
from mtd_ray.harvest.pacing import Amounts, Currency, Learnt, Pacer, Ticket
from mtd_ray.teachers.base import NO_HINTS, RateHints, TeacherUnavailable

_LONGEST_NAP_S = 0.1
_RETRY_S = 0.5
# Of calls to an actor that is away: two minutes of trying. Not measured by the clock, for a call may rightly wait for hours.
_MOST_FAILURES = 240
_MOST_WAITERS = 100_000
_LITTLE_LEFT = 0.05


class Grant(NamedTuple):
    """What the actor answers: the ticket, which life of the actor it is of, and the rate learnt so far."""

    ticket: Ticket
    life: str
    learnt: Learnt | None


class QuotaActor:
    """One account's :class:`Pacer`, restarted by Ray when its node or process dies.

    A new life knows nothing; the first worker that asks tells it the rate that the last one had learnt.
    """

    def __init__(self, quota: QuotaConfig, currency: Currency) -> None:
        self._pacer = Pacer(quota, time.monotonic, currency)
        self._turn = asyncio.Lock()
        self._life = uuid.uuid4().hex

    async def acquire(self, amounts: Amounts, learnt: Learnt | None) -> Grant:
        """Answer when the request may be sent. Who asks first goes first; nobody needs to ask twice."""
        if learnt is not None:
            self._pacer.adopt(learnt)
        async with self._turn:
            while (wait := self._pacer.wait(amounts)) > 0.0:
                await asyncio.sleep(min(wait, _LONGEST_NAP_S))  # the pace may have changed by then
            return Grant(self._pacer.grant(amounts), self._life, self._pacer.learnt)

    async def report(self, rejected: Grant | None, hints: RateHints) -> None:
        """Learn of a rejected request, and what the provider says. A ticket of an earlier life says nothing about this one's."""
        self._pacer.heed(hints)
        if rejected is not None and rejected.life == self._life:
            self._pacer.turned_away(rejected.ticket)


_RemoteQuota: Any = ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=_MOST_WAITERS)(QuotaActor)

# The grant of the request that the present asyncio task has under way: a report is about the task's last grant.
_granted: ContextVar[Grant | None] = ContextVar("_granted", default=None)


def account_of(teacher: ApiTeacher) -> tuple[str, ...]:
    """What a quota belongs to: teachers with the same value share one."""
    return (teacher.provider, teacher.base_url, teacher.api_key, teacher.model)


class SharedLimiter:
    """A worker's hold of the quota actor; see :class:`mtd_ray.teachers.Limiter`.

    A request costs one call to the actor. Of the answers only rejections, and hints that say something new, are passed on: the
    policy needs no more. :meth:`report` is to be called by the asyncio task that called :meth:`acquire`.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._learnt: Learnt | None = None
        self._limits: Mapping[str, float] = {}
        self._life = ""

    @classmethod
    def start(cls, quota: QuotaConfig, currency: Currency = "tokens") -> SharedLimiter:
        """A limiter on an actor of its own, which lives until :meth:`close` or the end of the driver.

        Args:
            quota: the account's limits, as far as known.
            currency: what the account is limited in when nothing is known.
        """
        return cls(_RemoteQuota.remote(quota, currency))

    def close(self) -> None:
        """End the actor. Ray does not do so by itself: it never learns that workers of a dataset have let go of a handle."""
        ray.kill(self._actor)

    async def acquire(self, requests: int, tokens: int, inputs: int) -> None:
        """Wait for the actor's grant.

        Raises:
            TeacherUnavailable: the actor stays away; Ray restarts it when there is a node to run it.
        """
        amounts = Amounts(requests, tokens, inputs)
        for _ in range(_MOST_FAILURES):
            try:
                grant: Grant = await self._actor.acquire.remote(amounts, self._learnt)
            except RayActorError:
                await asyncio.sleep(_RETRY_S)
            else:
                self._note(grant)
                return
        raise TeacherUnavailable("the quota actor did not come back; check the cluster's nodes and run again")

    def _note(self, grant: Grant) -> None:
        self._learnt = grant.learnt or self._learnt
        if grant.life != self._life:  # a new life has not been told the provider's limits
            self._life, self._limits = grant.life, {}
        _granted.set(grant)

    def report(self, *, rejected: bool, hints: RateHints = NO_HINTS) -> None:
        """Send word without waiting. A word that is lost with the actor is not missed: its next life measures anew."""
        if rejected or self._is_news(hints):
            self._limits = hints.limits or self._limits
            with contextlib.suppress(RayActorError):
                self._actor.report.remote(_granted.get() if rejected else None, hints)

    def _is_news(self, hints: RateHints) -> bool:
        if hints.retry_after is not None or any(self._limits.get(name) != limit for name, limit in hints.limits.items()):
            return True
        return any(left < _LITTLE_LEFT * self._limits.get(name, left) for name, left in hints.remaining.items())


def start_limiters(teachers: Mapping[str, Teacher]) -> dict[str, SharedLimiter]:
    """One limiter per account, by the name of each API teacher: teachers of one account share the tighter of their quotas."""
    accounts: defaultdict[tuple[str, ...], dict[str, ApiTeacher]] = defaultdict(dict)
    for name, teacher in teachers.items():
        if isinstance(teacher, ApiTeacher):
            accounts[account_of(teacher)][name] = teacher
    limiters: dict[str, SharedLimiter] = {}
    for sharing in accounts.values():
        first = next(iter(sharing.values()))
        quota = reduce(_tighter, (teacher.quota for teacher in sharing.values()))
        limiters |= dict.fromkeys(sharing, SharedLimiter.start(quota, _currency_of(first)))
    return limiters


def _tighter(one: QuotaConfig, other: QuotaConfig) -> QuotaConfig:
    """The lower limit in each currency; one that is not given limits nothing."""
    given = [{name: limit for name, limit in quota if limit is not None} for quota in (one, other)]
    return QuotaConfig(**{name: min(limits[name] for limits in given if name in limits) for name in {**given[0], **given[1]}})


def _currency_of(teacher: ApiTeacher) -> Currency:
    """Cohere counts texts; others, as a rule, tokens."""
    return "inputs" if isinstance(teacher, CohereTeacher) else "tokens"
