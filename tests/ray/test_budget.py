"""The cap on dollars as workers see it, on a real cluster."""

from __future__ import annotations

import asyncio
import time

import pytest
import ray
from ray.exceptions import RayActorError

from mtd_ray.config import Recipe
from mtd_ray.harvest.budget import SharedBudget, start_budget
from mtd_ray.harvest.claims import Claims, paid_teachers
from mtd_ray.objects import ObjectStore
from mtd_ray.sandbox.ray_cluster import RayCluster
from mtd_ray.teachers import Budget, BudgetSpent
from tests.tiny_corpus import tiny_recipe

pytestmark = pytest.mark.ray

PAID = {"provider": "openai", "model": "text-embedding-3-small", "dimensions": 2}


@pytest.fixture
def recipe(local_store: ObjectStore) -> Recipe:
    return tiny_recipe(local_store, {"paid": PAID, "own": {"provider": "local", "model": "m", "dimensions": 2}}, budget_usd=10.0)


def started(store: ObjectStore, recipe: Recipe) -> SharedBudget:
    budget = start_budget(store, recipe)
    assert budget is not None
    return budget


def counted(store: ObjectStore, recipe: Recipe) -> float:
    return sum(Claims(store, paid_teachers(recipe).values()).counted_usd().values())


@ray.remote(num_cpus=0)
def spend(view: Budget, usd: float, times: int) -> float:
    """A worker with several requests under way; what it was granted."""

    async def one() -> float:
        try:
            await view.reserve(usd)
        except BudgetSpent:
            return 0.0
        await asyncio.sleep(0.01)
        view.settle(usd, usd / 2)
        return usd / 2

    async def all_at_once() -> float:
        return sum(await asyncio.gather(*(one() for _ in range(times))))

    return asyncio.run(all_at_once())


def test_workers_together_use_the_budget_and_do_not_pass_it(
    ray_cluster: RayCluster, local_store: ObjectStore, recipe: Recipe
) -> None:
    budget = started(local_store, recipe)
    (teacher,) = paid_teachers(recipe).values()
    view = budget.of(teacher)
    spent = sum(ray.get([spend.remote(view, 0.4, 40) for _ in range(2)]))
    assert 9.6 <= spent <= 10.0
    with pytest.raises(BudgetSpent, match=r"harvest\.budget_usd reached: \$\d+\.\d\d spent of \$10\.00"):
        asyncio.run(view.reserve(0.5))
    budget.close()
    assert counted(local_store, recipe) == pytest.approx(spent)
    assert started(local_store, recipe).spent_before_usd == pytest.approx(spent)


def test_an_actor_that_dies_forgets_nothing(ray_cluster: RayCluster, local_store: ObjectStore, recipe: Recipe) -> None:
    budget = started(local_store, recipe)
    (teacher,) = paid_teachers(recipe).values()
    view = budget.of(teacher)
    asyncio.run(view.reserve(4.0))
    ray.kill(budget._actor, no_restart=False)
    with pytest.raises(RayActorError):  # killing takes a moment, in which the next reservation would be claimed in vain
        while True:
            ray.get(budget._actor.settle.remote("nobody", teacher, 0.0, 0.0))
    asyncio.run(view.reserve(5.0))
    view.settle(4.0, 1.0)  # granted by the one that died, whose claim counts in full
    view.settle(5.0, 2.0)
    deadline = time.monotonic() + 10
    with pytest.raises(BudgetSpent):
        asyncio.run(view.reserve(4.1))
    assert time.monotonic() < deadline
    asyncio.run(view.reserve(4.0))
    budget.close()
    assert counted(local_store, recipe) == pytest.approx(4.0 + 2.0 + 4.0)


def test_without_a_cap_nothing_is_refused_and_all_is_counted_later(
    ray_cluster: RayCluster, local_store: ObjectStore, recipe: Recipe
) -> None:
    budget = started(local_store, tiny_recipe(local_store, {"paid": PAID}))
    assert budget.cap_usd is None
    (teacher,) = paid_teachers(recipe).values()
    view = budget.of(teacher)
    for usd in (8.0, 8.0):
        asyncio.run(view.reserve(usd))
        view.settle(usd, 6.0)
    budget.close()
    assert counted(local_store, recipe) == pytest.approx(12.0)


def test_teachers_that_cost_nothing_need_no_budget(local_store: ObjectStore) -> None:
    own_server = PAID | {"model": "own", "base_url": "http://own/v1"}
    assert start_budget(local_store, tiny_recipe(local_store, {"own": own_server})) is None
