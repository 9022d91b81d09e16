"""Money: set aside before a request is sent, booked after it, whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mtd_ray.teachers.base import Budget


@dataclass
class Purchase:
    """One request's money in US dollars: what is ``reserved`` for it, and what it ``spent`` as far as is known."""

    reserved: float
    spent: float = 0.0


class Purse:
    """Pays one teacher's requests out of the budget.

    Args:
        budget: the cap shared with other workers.
        usd_per_token: the teacher's price; 0 when nobody knows it.
    """

    def __init__(self, budget: Budget, usd_per_token: float) -> None:
        self._budget, self._price = budget, usd_per_token

    def cost(self, tokens: int) -> float:
        """US dollars of so many tokens."""
        return tokens * self._price

    @asynccontextmanager
    async def purchase(self, most_tokens: int) -> AsyncIterator[Purchase]:
        """Money for a request of at most so many tokens. What its ``spent`` says in the end is booked, also after an error.

        Raises:
            BudgetSpent: the cap has no room for it.
        """
        purchase = Purchase(self.cost(most_tokens))
        await self._reserve(purchase.reserved)
        try:
            yield purchase
        finally:
            self._budget.settle(purchase.reserved, purchase.spent)

    async def _reserve(self, usd: float) -> None:
        """Reserve; when given up meanwhile, money that is set aside all the same goes back."""
        reserving = asyncio.ensure_future(self._budget.reserve(usd))
        try:
            await asyncio.shield(reserving)
        except asyncio.CancelledError:
            reserving.add_done_callback(lambda done: self._give_back(done, usd))
            raise

    def _give_back(self, reserving: asyncio.Future[None], usd: float) -> None:
        if not reserving.cancelled() and reserving.exception() is None:
            self._budget.settle(usd, 0.0)
