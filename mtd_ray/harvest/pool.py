"""A pool of workers on a Ray cluster: pending parts go in, receipts come out.

The parts are the rows of a Ray Dataset, one per block, and a pool of actors does them. Vectors go from the worker straight to
storage; what travels through Ray is small.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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


@dataclass(frozen=True)
class Crew:
    """How many actors, what each takes, and how many parts each works at at once, in as many threads."""

    fewest: int
    most: int
    parts_in_flight: int
    num_cpus: float
    num_gpus: float = 0.0

    @classmethod
    def of(cls, teacher: Teacher) -> Crew:
        """As the recipe says."""
        fewest = teacher.workers.min if isinstance(teacher.workers, WorkerRange) else teacher.workers
        gpus = getattr(teacher, "num_gpus", 0.0)
        return cls(fewest, most_workers(teacher), teacher.parts_in_flight, teacher.num_cpus, gpus)

    def pool(self, parts: int) -> ActorPoolStrategy:
        """Of no more actors than there are parts."""
        return ActorPoolStrategy(
            min_size=min(self.fewest, parts),
            max_size=min(self.most, parts),
            max_concurrent_calls_per_actor=self.parts_in_flight,
            # Without it Ray Data runs one call of an actor at a time, whatever the line above says.
            enable_true_multi_threading=True,
            # A pool grows when its actors have 1.75 times as many parts waiting and under way as they have threads.
            max_tasks_in_flight_per_actor=2 * self.parts_in_flight,
        )


Work = Callable[[dict[str, Any]], Receipt]
"""Does one part, given as a JSON object. Called from several threads at once."""


def receipts_of(plan: Plan, tools: Tools) -> Generator[Receipt, None, None]:
    """Do the pending parts on a pool of actors; a receipt as each is done. Leaving early ends the actors.

    No wave of parts is begun after one with an error.
    """
    parts = [asdict(part) for part in in_random_order(plan.pending, SystemRandom())]
    arguments = (tools.store, plan.name, plan.teacher, tools.limiters.get(plan.name), tools.budget_of(plan))
    for row in rows_of(parts, _harvester, arguments, Crew.of(plan.teacher)):
        yield Receipt(**row)


def rows_of(
    parts: Sequence[Mapping[str, Any]], start: Callable[..., Work], arguments: tuple[Any, ...], crew: Crew
) -> Generator[dict[str, Any], None, None]:
    """Receipts of parts as flat dicts, as they come. Leaving early ends the actors.

    Args:
        parts: JSON objects. No wave of them is begun after one with an error.
        start: makes, in every actor, what does the parts.
        arguments: of ``start``.
    """
    for first in range(0, len(parts), _PARTS_PER_WAVE):
        rows = [{"part": json.dumps(part)} for part in parts[first : first + _PARTS_PER_WAVE]]
        # One block per part, made here: no task of Ray Data's own needs a CPU, so pools that hold all of them cannot starve it.
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        dataset.context.enable_progress_bars = False
        dataset.context.print_on_execution_start = False
        dataset.context.execution_no_progress_timeout_s = _LONGEST_SILENCE_S
        done = dataset.map_batches(
            _Actor,
            batch_size=1,
            fn_constructor_args=(start, arguments),
            compute=crew.pool(len(rows)),
            num_cpus=crew.num_cpus,
            num_gpus=crew.num_gpus,
        )
        failed = False
        for row in done.iter_rows():
            failed = failed or row["error"] != ""
            yield row
        if failed:
            return


def most_workers(teacher: Teacher) -> int:
    """The upper bound of a teacher's pool."""
    return teacher.workers.max if isinstance(teacher.workers, WorkerRange) else teacher.workers


def _harvester(store: ObjectStore, name: str, teacher: Teacher, limiter: SharedLimiter | None, budget: Budget | None) -> Work:
    worker = PartWorker(store, name, teacher, limiter, budget)
    return lambda fields: worker.harvest(Part(**fields | {"shard": Shard(**fields["shard"])}))


class _Actor:
    """Ray Data's view of a worker: a batch of one part in, a batch of one receipt out. Its threads call it side by side."""

    def __init__(self, start: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
        self._work = start(*arguments)

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[Any]]:
        (text,) = batch["part"]
        return {key: [value] for key, value in self._work(json.loads(text)).to_row().items()}


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
