from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ray.exceptions import RayActorError

from mtd_ray.config import CohereTeacher, OpenAITeacher, QuotaConfig
from mtd_ray.harvest import quota
from mtd_ray.harvest.pacing import Amounts, Learnt
from mtd_ray.harvest.quota import Grant, QuotaActor, SharedLimiter, account_of
from mtd_ray.teachers.base import RateHints, TeacherUnavailable


class Remote:
    """A method of an actor handle."""

    def __init__(self, method: Callable[..., Awaitable[Any]]) -> None:
        self._method = method

    def remote(self, *arguments: Any) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self._method(*arguments))


class Handle:
    """A handle of an actor in this process, which may be away for a number of calls."""

    def __init__(self, actor: QuotaActor, away: int = 0) -> None:
        self._actor, self._away = actor, away
        self.acquire, self.report = Remote(self._acquire), Remote(self._report)
        self.told: list[Learnt | None] = []
        self.reports: list[tuple[Grant | None, RateHints]] = []

    async def _acquire(self, amounts: Amounts, learnt: Learnt | None) -> Grant:
        self.told.append(learnt)
        if self._away:
            self._away -= 1
            raise RayActorError
        return await self._actor.acquire(amounts, learnt)

    async def _report(self, rejected: Grant | None, hints: RateHints) -> None:
        self.reports.append((rejected, hints))
        await self._actor.report(rejected, hints)


def actor(**limits: float) -> QuotaActor:
    return QuotaActor(QuotaConfig(**limits), "tokens")


@pytest.fixture(autouse=True)
def no_time_between_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "_RETRY_S", 0.0)


def test_who_asks_first_goes_first() -> None:
    async def ask() -> list[str]:
        shared, order = actor(tokens_per_minute=600_000), list[str]()

        async def one(name: str, tokens: int) -> None:
            await shared.acquire(Amounts(1, tokens, 1), None)
            order.append(name)

        await asyncio.gather(one("first", 8_000), one("large", 9_000), one("small", 1))
        return order

    assert asyncio.run(ask()) == ["first", "large", "small"]


def test_a_rejection_is_that_of_the_tasks_own_request() -> None:
    async def ask() -> list[float]:
        handle = Handle(actor(tokens_per_minute=6e9))
        limiter = SharedLimiter(handle)

        async def one(tokens: int, until: asyncio.Event, then: asyncio.Event) -> None:
            await limiter.acquire(1, tokens, 1)
            then.set()
            await until.wait()
            limiter.report(rejected=tokens == 100)

        first, second = asyncio.Event(), asyncio.Event()
        await asyncio.gather(one(100, second, first), one(200, first, second))
        await asyncio.sleep(0)
        return [grant.ticket.amounts.tokens for grant, _ in handle.reports if grant is not None]

    assert asyncio.run(ask()) == [100]


def test_answers_without_news_are_not_passed_on() -> None:
    async def ask() -> list[RateHints]:
        handle = Handle(actor())
        limiter = SharedLimiter(handle)
        for left in (900, 800, 700, 1):
            limiter.report(rejected=False, hints=RateHints(limits={"tokens": 1_000}, remaining={"tokens": left}))
        limiter.report(rejected=False)
        await asyncio.sleep(0)
        return [hints for _, hints in handle.reports]

    assert [hints.remaining["tokens"] for hints in asyncio.run(ask())] == [900, 1]


def test_a_restarted_actor_is_told_what_its_last_life_had_learnt() -> None:
    async def ask() -> tuple[Learnt | None, list[Learnt | None]]:
        old = actor(tokens_per_minute=60_000)
        handle = Handle(old)
        limiter = SharedLimiter(handle)
        await limiter.acquire(1, 100, 1)
        limiter.report(rejected=True)
        await asyncio.sleep(0)
        await limiter.acquire(1, 100, 1)
        handle._actor, handle._away = actor(tokens_per_minute=60_000), 2
        await limiter.acquire(1, 100, 1)
        grant = await handle._actor.acquire(Amounts(1, 1, 1), None)
        return grant.learnt, handle.told

    learnt, told = asyncio.run(ask())
    assert learnt == Learnt("tokens", 1_000.0)
    assert told == [None, None, learnt, learnt, learnt]


def test_a_rejection_from_before_a_restart_says_nothing_about_the_new_life() -> None:
    async def ask() -> Learnt | None:
        old, new = actor(tokens_per_minute=60_000), actor(tokens_per_minute=60_000)
        await new.report(await old.acquire(Amounts(1, 100, 1), None), RateHints())
        return (await new.acquire(Amounts(1, 100, 1), None)).learnt

    assert asyncio.run(ask()) is None


def test_a_restarted_actor_is_told_the_providers_limits_again() -> None:
    async def ask() -> list[int]:
        handle, told = Handle(actor()), []
        limiter = SharedLimiter(handle)
        for restarts in (False, False, True, False):
            if restarts:
                handle._actor = actor()
            await limiter.acquire(1, 1, 1)
            limiter.report(rejected=False, hints=RateHints(limits={"tokens": 1_000}, remaining={"tokens": 900}))
            await asyncio.sleep(0)
            told.append(len(handle.reports))
        return told

    assert asyncio.run(ask()) == [1, 1, 2, 2]


def test_an_actor_that_stays_away_makes_the_teacher_unavailable() -> None:
    with pytest.raises(TeacherUnavailable, match="quota actor"):
        asyncio.run(SharedLimiter(Handle(actor(), away=1_000)).acquire(1, 1, 1))


def test_teachers_of_one_account_share_its_quota_and_cohere_is_limited_in_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[QuotaConfig, str]] = []

    def start(quota: QuotaConfig, currency: str) -> SharedLimiter:
        started.append((quota, currency))
        return SharedLimiter(None)

    monkeypatch.setattr(SharedLimiter, "start", start)
    small = OpenAITeacher(
        provider="openai", model="m", dimensions=4, quota=QuotaConfig(tokens_per_minute=5.0, requests_per_minute=9.0)
    )
    short = small.model_copy(update={"dimensions": 2, "quota": QuotaConfig(tokens_per_minute=3.0)})
    cohere = CohereTeacher(provider="cohere", model="m", dimensions=4)
    limiters = quota.start_limiters({"small": small, "short": short, "cohere": cohere})
    assert account_of(small) == account_of(short)
    assert limiters["small"] is limiters["short"]
    assert limiters["small"] is not limiters["cohere"]
    assert started == [(QuotaConfig(tokens_per_minute=3.0, requests_per_minute=9.0), "tokens"), (QuotaConfig(), "inputs")]
