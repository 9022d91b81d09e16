"""What all who ask a recipe's API teachers share while they do so: the quota of each account, and the money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from mtd_ray.config import Recipe, Teacher
from mtd_ray.harvest.budget import SharedBudget, start_budget
from mtd_ray.harvest.quota import SharedLimiter, start_limiters
from mtd_ray.objects import ObjectStore

Shared = tuple[dict[str, SharedLimiter], SharedBudget | None]


@contextmanager
def shared(store: ObjectStore, recipe: Recipe, teachers: Mapping[str, Teacher]) -> Iterator[Shared]:
    """Limiters by the names of the API teachers among these, and the budget if one of the recipe's costs anything.

    They are started for the API teachers that are given, and end with the context, whatever happens in it. Ray must be connected.
    """
    with ExitStack() as started:
        limiters = start_limiters(teachers)
        for limiter in set(limiters.values()):
            started.callback(limiter.close)
        budget = start_budget(store, recipe) if limiters else None
        if budget is not None:
            started.callback(budget.close)
        yield limiters, budget
