"""The actor's waiting, without Ray: who waits for room, and what lets go of them."""

from __future__ import annotations

import asyncio

import pytest

from mtd_ray.harvest.budget import BudgetActor
from mtd_ray.harvest.claims import Claims
from mtd_ray.objects import ObjectStore
from mtd_ray.teachers import BudgetSpent

TEACHER = "a" * 64


async def still_waiting(reserving: asyncio.Future[str]) -> bool:
    return not (await asyncio.wait([reserving], timeout=0.1))[0]


def counted(store: ObjectStore) -> float:
    return Claims(store, [TEACHER]).counted_usd()[TEACHER]


def test_money_under_way_is_waited_for(local_store: ObjectStore) -> None:
    async def scenario() -> None:
        actor = BudgetActor(local_store, 10.0, [TEACHER])
        incarnation = await actor.reserve(TEACHER, 9.0)
        reserving = asyncio.ensure_future(actor.reserve(TEACHER, 2.0))
        assert await still_waiting(reserving)
        await actor.settle(incarnation, TEACHER, 9.0, 1.0)
        assert await reserving == incarnation

    asyncio.run(scenario())


def test_a_settlement_while_a_claim_is_refused_is_not_overlooked(local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        actor = BudgetActor(local_store, 10.0, [TEACHER])
        incarnation = await actor.reserve(TEACHER, 9.0)
        claim, loop = actor._ledger.claim, asyncio.get_running_loop()

        def refused(teacher: str, usd: float) -> bool:
            monkeypatch.undo()
            answer = claim(teacher, usd)
            asyncio.run_coroutine_threadsafe(actor.settle(incarnation, TEACHER, 9.0, 1.0), loop).result()
            return answer

        monkeypatch.setattr(actor._ledger, "claim", refused)
        assert await actor.reserve(TEACHER, 2.0) == incarnation

    asyncio.run(scenario())


def test_with_nothing_under_way_the_budget_is_spent_at_once(local_store: ObjectStore) -> None:
    async def scenario() -> None:
        actor = BudgetActor(local_store, 10.0, [TEACHER])
        await actor.settle(await actor.reserve(TEACHER, 9.0), TEACHER, 9.0, 9.0)
        with pytest.raises(BudgetSpent, match=r"\$9\.00 spent of \$10\.00"):
            await actor.reserve(TEACHER, 2.0)

    asyncio.run(scenario())


def test_closing_lets_go_of_who_waits_and_takes_late_settlements(local_store: ObjectStore) -> None:
    async def scenario() -> None:
        actor = BudgetActor(local_store, 10.0, [TEACHER])
        incarnation = await actor.reserve(TEACHER, 9.0)
        reserving = asyncio.ensure_future(actor.reserve(TEACHER, 2.0))
        assert await still_waiting(reserving)
        closing = asyncio.ensure_future(actor.close())
        with pytest.raises(BudgetSpent, match="ended"):
            await reserving
        await actor.settle(incarnation, TEACHER, 9.0, 1.5)
        await closing
        assert counted(local_store) == 1.5

    asyncio.run(scenario())


def test_what_an_earlier_incarnation_granted_is_not_booked_again(local_store: ObjectStore) -> None:
    async def scenario() -> None:
        dead = await BudgetActor(local_store, 10.0, [TEACHER]).reserve(TEACHER, 4.0)
        actor = BudgetActor(local_store, 10.0, [TEACHER])
        await actor.settle(dead, TEACHER, 4.0, 3.0)
        await actor.settle(await actor.reserve(TEACHER, 2.0), TEACHER, 2.0, 1.0)
        await actor.close()
        assert counted(local_store) == 5.0, "the dead one's whole claim, and what was spent since"

    asyncio.run(scenario())
