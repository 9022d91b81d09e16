from __future__ import annotations

import asyncio

import pytest

from mtd_ray.teachers import BudgetSpent
from mtd_ray.teachers.spending import Purse


class SlowBudget:
    """Grants after a moment, as one that asks over the network does."""

    def __init__(self, error: Exception | None = None) -> None:
        self.granted = 0.0
        self.settled: list[tuple[float, float]] = []
        self._error = error

    async def reserve(self, usd: float) -> None:
        await asyncio.sleep(0.01)
        if self._error:
            raise self._error
        self.granted += usd

    def settle(self, reserved: float, spent: float) -> None:
        self.settled.append((reserved, spent))


def test_what_was_spent_is_booked_even_after_an_error() -> None:
    budget = SlowBudget()

    async def buy() -> None:
        async with Purse(budget, 0.5).purchase(10) as purchase:
            purchase.spent = 3.0
            raise ValueError

    with pytest.raises(ValueError):
        asyncio.run(buy())
    assert budget.settled == [(5.0, 3.0)]


def test_money_granted_after_the_wish_was_given_up_goes_back() -> None:
    budget = SlowBudget()

    async def buy() -> None:
        async with Purse(budget, 0.5).purchase(10):
            raise AssertionError

    async def give_up() -> None:
        task = asyncio.create_task(buy())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.03)

    asyncio.run(give_up())
    assert budget.granted == 5.0
    assert budget.settled == [(5.0, 0.0)]


def test_without_a_grant_there_is_nothing_to_book() -> None:
    budget = SlowBudget(BudgetSpent("no room"))

    async def buy() -> None:
        async with Purse(budget, 0.5).purchase(10):
            raise AssertionError

    with pytest.raises(BudgetSpent):
        asyncio.run(buy())
    assert budget.settled == []
