"""A teacher's pool of workers on a Ray cluster: pending parts go in, receipts come out.

The parts are the rows of a Ray Dataset, one per block, and a pool of actors does them. Vectors go from the worker straight to
storage; what travels through Ray is small.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from random import SystemRandom
from typing import Any

import numpy as np
import ray.data
from ray.data import ActorPoolStrategy

from mtd_ray.config import ApiTeacher, Teacher, WorkerRange
from mtd_ray.corpus import Shard
from mtd_ray.harvest.budget import SharedBudget
from mtd_ray.harvest.plan import Plan, in_random_order
from mtd_ray.harvest.quota import SharedLimiter
from mtd_ray.harvest.worker import PartWorker, Receipt
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part
from mtd_ray.teachers import Budget

# A block per part costs the driver about 1.5 ms before the first part starts; a wave of this size keeps that under ten seconds.
_PARTS_PER_WAVE = 5_000
# Ray Data ends an execution that shows no progress; a part may rightly wait this long for a quota.
_LONGEST_SILENCE_S = 6 * 3600


@dataclass(frozen=True)
class Tools:
    """What a harvest works with: the store, the limiter of each API teacher, the budget if one of them costs anything."""

    recipe: str
    store: ObjectStore
    limiters: Mapping[str, SharedLimiter]
    budget: SharedBudget | None

    def budget_of(self, plan: Plan) -> Budget | None:
        """The budget as the workers of one teacher see it; local teachers cost nothing."""
        paid = isinstance(plan.teacher, ApiTeacher)
        return self.budget.of(plan.fingerprint) if self.budget is not None and paid else None


def receipts_of(plan: Plan, tools: Tools) -> Generator[Receipt, None, None]:
    """Do the pending parts on a pool of actors; a receipt as each is done. Leaving early ends the actors.

    No wave of parts is begun after one with an error.
    """
    pending = in_random_order(plan.pending, SystemRandom())
    for first in range(0, len(pending), _PARTS_PER_WAVE):
        rows = [{"part": json.dumps(asdict(part))} for part in pending[first : first + _PARTS_PER_WAVE]]
        # One block per part, made here: no task of Ray Data's own needs a CPU, so pools that hold all of them cannot starve it.
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        dataset.context.enable_progress_bars = False
        dataset.context.print_on_execution_start = False
        dataset.context.execution_no_progress_timeout_s = _LONGEST_SILENCE_S
        harvested = dataset.map_batches(
            _Actor,
            batch_size=1,
            fn_constructor_args=(tools.store, plan.name, plan.teacher, tools.limiters.get(plan.name), tools.budget_of(plan)),
            compute=_pool(plan.teacher, len(rows)),
            num_cpus=plan.teacher.num_cpus,
            num_gpus=getattr(plan.teacher, "num_gpus", 0.0),
        )
        failed = False
        for row in harvested.iter_rows():
            receipt = Receipt(**row)
            failed = failed or receipt.error != ""
            yield receipt
        if failed:
            return


def _pool(teacher: Teacher, parts: int) -> ActorPoolStrategy:
    """As many actors as the recipe says, each with as many threads as it works at parts at once."""
    fewest = teacher.workers.min if isinstance(teacher.workers, WorkerRange) else teacher.workers
    threads = teacher.parts_in_flight
    return ActorPoolStrategy(
        min_size=min(fewest, parts),
        max_size=min(most_workers(teacher), parts),
        max_concurrent_calls_per_actor=threads,
        # Without it Ray Data runs one call of an actor at a time, whatever the line above says.
        enable_true_multi_threading=True,
        # A pool grows when its actors have 1.75 times as many parts waiting and under way as they have threads.
        max_tasks_in_flight_per_actor=2 * threads,
    )


def most_workers(teacher: Teacher) -> int:
    """The upper bound of a teacher's pool."""
    return teacher.workers.max if isinstance(teacher.workers, WorkerRange) else teacher.workers


class _Actor:
    """Ray Data's view of a worker: a batch of one part in, a batch of one receipt out. Its threads call it side by side."""

    def __init__(
        self, store: ObjectStore, name: str, teacher: Teacher, limiter: SharedLimiter | None, budget: Budget | None
    ) -> None:
        self._worker = PartWorker(store, name, teacher, limiter, budget)

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[Any]]:
        (text,) = batch["part"]
        fields = json.loads(text)
        receipt = self._worker.harvest(Part(**fields | {"shard": Shard(**fields["shard"])}))
        return {key: [value] for key, value in receipt.to_row().items()}


@contextmanager
def quiet_ray_data() -> Iterator[None]:
    """Without Ray Data's notes on every execution and on its bars being off: the progress line says what a person wants to know."""
    levels = {"ray.data": logging.WARNING, "ray.data._internal.progress": logging.ERROR}
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
