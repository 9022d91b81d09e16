"""Dollars spent and the cap on them, shared by all workers on all nodes: the ledger in one Ray actor, and what a worker holds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import uuid
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from mtd_ray.config import ApiTeacher, Recipe, usd_per_token
from mtd_ray.errors import MtdError
from mtd_ray.harvest.claims import Claims, paid_teachers
from mtd_ray.harvest.ledger import Ledger
from mtd_ray.objects import ObjectStore
from mtd_ray.teachers import BudgetSpent, TeacherUnavailable

_log = logging.getLogger(__name__)

_CLOSED_WITHIN_S = 120.0
# Of calls to an actor that is away: two minutes of trying. Not measured by the clock, for a call may rightly wait for money.
_MOST_FAILURES = 240
_NAP_S = 0.5
# When money under way is all that could make room, and nothing comes back for this long, who holds it is dead or held up.
_SETTLED_WITHIN_S = 180.0
# Workers do not wait for their settlements, so the last ones may arrive after the last part is done.
_LATE_S = 2.0


class BudgetActor:
    """One incarnation of a recipe's :class:`Ledger`. Restarted by Ray when its node or process dies: it then claims anew."""

    def __init__(self, store: ObjectStore, cap_usd: float, teachers: Sequence[str]) -> None:
        self._name = uuid.uuid4().hex
        self._ledger = Ledger(Claims(store, teachers), self._name, cap_usd, teachers)
        self._claiming = asyncio.Lock()
        self._settled = asyncio.Event()

    async def reserve(self, teacher: str, usd: float) -> str:
        """Set money aside. Returns the incarnation that :meth:`settle` has to name. Raises what :class:`Ledger` does."""
        if not self._ledger.take(teacher, usd):
            async with self._claiming:  # in turn; the loop stays free for those whose money is claimed already
                while not self._ledger.take(teacher, usd):
                    await self._make_room(teacher, usd)
        return self._name

    async def _make_room(self, teacher: str, usd: float) -> None:
        self._settled.clear()
        if await asyncio.to_thread(self._ledger.claim, teacher, usd):
            return
        if self._settled.is_set():
            return  # while the claim was refused, which knew nothing of it
        if self._ledger.reserved_usd > 0:
            try:
                await asyncio.wait_for(self._settled.wait(), _SETTLED_WITHIN_S)
                return
            except TimeoutError:
                pass
        raise BudgetSpent(await asyncio.to_thread(self._ledger.spent_message))

    async def settle(self, incarnation: str, teacher: str, reserved: float, spent: float) -> None:
        """Book a request. One that an earlier incarnation granted is in that one's claim already."""
        if incarnation == self._name:
            self._ledger.settle(teacher, reserved, spent)
            self._settled.set()

    async def close(self) -> None:
        """Write down what was spent; nothing is granted any more."""
        self._ledger.refuse()
        self._settled.set()  # whoever waits for room leaves
        async with self._claiming:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_settled(), _LATE_S)
            await asyncio.to_thread(self._ledger.close)

    async def _all_settled(self) -> None:
        while self._ledger.reserved_usd > 0:
            self._settled.clear()
            await self._settled.wait()


# Every request of every worker may wait in one call; a settlement must never have to wait behind them.
_RemoteBudget: Any = ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=100_000)(BudgetActor)


class TeacherBudget:
    """One teacher's hold of the budget actor; see :class:`mtd_ray.teachers.Budget`. Made anew by each worker that unpickles it.

    Raises:
        TeacherUnavailable: the actor stays away; Ray restarts it when there is a node to run it.
    """

    def __init__(self, actor: Any, teacher: str) -> None:
        self._actor, self._teacher = actor, teacher
        # Which incarnation granted a reservation; those of one amount are alike.
        self._granted: dict[float, list[str]] = {}
        self._noting = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return TeacherBudget, (self._actor, self._teacher)

    async def reserve(self, usd: float) -> None:
        for _ in range(_MOST_FAILURES):
            try:
                incarnation = await self._actor.reserve.remote(self._teacher, usd)
            except RayTaskError as error:
                raise error.cause if isinstance(error.cause, MtdError) else error from None
            except RayActorError:
                await asyncio.sleep(_NAP_S)
            else:
                with self._noting:
                    self._granted.setdefault(usd, []).append(incarnation)
                return
        raise TeacherUnavailable("the budget actor did not come back; check the cluster's nodes and run again")

    def settle(self, reserved: float, spent: float) -> None:
        with self._noting:
            incarnations = self._granted[reserved]
            incarnation = incarnations.pop(0)
            if not incarnations:
                del self._granted[reserved]
        self._actor.settle.remote(incarnation, self._teacher, reserved, spent)


class SharedBudget:
    """The budget of a recipe's API teachers, on an actor that lives until :meth:`close` or the end of the driver.

    Attributes:
        cap_usd: ``harvest.budget_usd``; None only writes down what is spent.
        spent_before_usd: what counted against the cap when this started; 0 without one.
    """

    def __init__(self, actor: Any, cap_usd: float | None, spent_before_usd: float) -> None:
        self._actor = actor
        self.cap_usd, self.spent_before_usd = cap_usd, spent_before_usd

    def of(self, teacher: str) -> TeacherBudget:
        """What the workers of the teacher with this fingerprint hold."""
        return TeacherBudget(self._actor, teacher)

    def close(self) -> None:
        """Write down what was really spent, and end the actor. Without it, all that was claimed counts as spent."""
        try:
            ray.get(self._actor.close.remote(), timeout=_CLOSED_WITHIN_S)
        except (RayActorError, RayTaskError, GetTimeoutError):
            _log.warning("the budget could not be closed: up to a few seconds' dollars more than was spent stay counted")
        ray.kill(self._actor)  # Ray does not end it by itself: it never learns that workers of a dataset have let go of a handle


def start_budget(store: ObjectStore, recipe: Recipe) -> SharedBudget | None:
    """The budget that all API teachers of the recipe share; None when none of them costs anything.

    What is spent is written down also when the recipe gives no cap, so that a cap given later knows of it.
    """
    paid = [teacher for teacher in recipe.teachers.values() if isinstance(teacher, ApiTeacher)]
    if not any(usd_per_token(teacher) for teacher in paid):
        return None
    cap, teachers = recipe.harvest.budget_usd, sorted(set(paid_teachers(recipe).values()))
    spent = 0.0 if cap is None else sum(Claims(store, teachers).counted_usd().values())
    return SharedBudget(_RemoteBudget.remote(store, math.inf if cap is None else cap, teachers), cap, spent)
