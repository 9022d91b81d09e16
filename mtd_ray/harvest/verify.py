"""Reads again everything that was harvested, shard by shard on all nodes of the cluster."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import ray

from mtd_ray.config import LocalTeacher, Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest, Shard
from mtd_ray.errors import MtdError, TargetError
from mtd_ray.harvest.budget import SharedBudget, start_budget
from mtd_ray.harvest.reembed import reembed
from mtd_ray.harvest.table import aligned
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import TargetStore, pending_parts
from mtd_ray.targets.audit import Audit, audit_shard
from mtd_ray.teachers import Budget

_log = logging.getLogger(__name__)

_SHOWN_PROBLEMS = 50


@dataclass(frozen=True)
class Verification:
    """What is known about one teacher's targets once they were read again.

    Attributes:
        found: what reading every part has found.
        pending: parts that are not harvested yet: no damage, but not finished.
        sampled: rows that the teacher embedded again.
        least_cosine: of a row's stored and new vector; None when none was asked.
    """

    teacher: str
    found: Audit
    pending: int
    sampled: int = 0
    least_cosine: float | None = None

    @property
    def problems(self) -> list[str]:
        """What a person must act on."""
        if not self.pending:
            return self.found.problems
        return [f"teacher {self.teacher}: {self.pending:,} parts are not harvested yet: harvest to the end", *self.found.problems]


def verify(
    store: ObjectStore, recipe: Recipe, manifest: Manifest, *, teachers: Sequence[str] | None = None, sample_rows: int = 8
) -> list[Verification]:
    """Read all committed targets again, and have each teacher embed a few rows once more. Ray must be connected.

    Vectors are compared where they are read: only counts, norms and messages come back.

    Args:
        teachers: names to restrict it to; all by default.
        sample_rows: rows to embed again; teachers behind an API are paid for them, within ``harvest.budget_usd``. 0 asks none.

    Returns:
        One per teacher. Damage is in there, not raised.
    """
    names = list(recipe.teachers) if teachers is None else list(teachers)
    found = [_audited(store, recipe, manifest, name) for name in names]
    # Only targets that are whole: others would be paid for in vain.
    whole = [audited.teacher for audited in found if not audited.problems] if sample_rows > 0 else []
    budget = start_budget(store, recipe) if whole else None
    try:
        cosines = {name: _cosines(_Sample(store, recipe, manifest, name, sample_rows), budget) for name in whole}
    finally:
        if budget is not None:
            budget.close()
    return [_with_cosines(audited, cosines.get(audited.teacher)) for audited in found]


def report(found: Sequence[Verification]) -> str:
    """A table, and below it the problems."""
    header = ("teacher", "parts", "rows", "no vector", "problems", "norm", "least", "most", "cosine")
    lines = aligned([header, *(_row(teacher) for teacher in found)])
    problems = [problem for teacher in found for problem in teacher.problems]
    lines += [f"! {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"! and {len(problems) - _SHOWN_PROBLEMS} more")
    return "\n".join(lines)


def require_whole(found: Sequence[Verification]) -> None:
    """Raise TargetError when anything is missing or damaged."""
    if bad := [teacher.teacher for teacher in found if teacher.problems]:
        raise TargetError(f"targets of {', '.join(bad)} are not in order: the lines above name each part and what to do")


def _row(teacher: Verification) -> tuple[str, ...]:
    norms = teacher.found.norms
    lengths: tuple[str, ...] = ("", "", "")
    if norms.count:
        lengths = (f"{norms.mean:.4g} ± {norms.deviation:.2g}", f"{norms.least:.4g}", f"{norms.most:.4g}")
    cosine = "" if teacher.least_cosine is None else f"≥ {teacher.least_cosine:.5f} in {teacher.sampled} rows"
    found = teacher.found
    counts = (f"{found.parts:,}", f"{found.rows:,}", f"{found.failed_rows:,}", f"{len(teacher.problems):,}")
    return (teacher.teacher, *counts, *lengths, cosine)


def _audited(store: ObjectStore, recipe: Recipe, manifest: Manifest, name: str) -> Verification:
    teacher = recipe.teachers[name]
    fingerprint = teacher_fingerprint(teacher)
    targets = TargetStore(store, fingerprint, recipe.harvest.part_rows, teacher.dimensions)
    pending: defaultdict[Shard, set[int]] = defaultdict(set)
    for part in pending_parts(store, fingerprint, manifest, recipe.harvest.part_rows):
        pending[part.shard].add(part.index)
    task = ray.remote(audit_shard).options(num_cpus=1, name=f"verify targets of {name}")

    def start(shard: Shard) -> Any:
        return task.remote(store, targets, shard, pending.get(shard, set()))

    return Verification(name, sum(_results(start, manifest.shards), Audit()), sum(map(len, pending.values())))


def _results(start: Callable[[Shard], Any], shards: Iterable[Shard]) -> Iterator[Audit]:
    """Results of tasks as they end, no more of them at a time than keep all CPUs busy."""
    coming = iter(shards)
    running = [start(shard) for shard in islice(coming, max(2, 2 * int(ray.cluster_resources().get("CPU", 1))))]
    while running:
        (ready,), running = ray.wait(running, num_returns=1)
        running += [start(shard) for shard in islice(coming, 1)]
        yield ray.get(ready)


@dataclass(frozen=True)
class _Sample:
    """Rows for a teacher to embed again."""

    store: ObjectStore
    recipe: Recipe
    manifest: Manifest
    teacher: str
    rows: int

    def cosines(self, budget: Budget | None) -> list[float] | str:
        """A message in place of an error: Ray would wrap and repeat it."""
        try:
            return reembed(self.store, self.recipe, self.manifest, self.teacher, rows=self.rows, budget=budget)
        except MtdError as error:
            return str(error)


def _cosines(sample: _Sample, budget: SharedBudget | None) -> list[float] | str:
    """On a node that has what the recipe gives the teacher."""
    teacher = sample.recipe.teachers[sample.teacher]
    held: Budget | None = None
    if not isinstance(teacher, LocalTeacher):
        _log.info("teacher %s embeds %d rows again, which its provider charges for", sample.teacher, sample.rows)
        held = budget.of(teacher_fingerprint(teacher)) if budget else None
    task = ray.remote(_Sample.cosines).options(num_cpus=teacher.num_cpus, num_gpus=getattr(teacher, "num_gpus", 0.0))
    found: list[float] | str = ray.get(task.remote(sample, held))
    return found


def _with_cosines(audited: Verification, found: list[float] | str | None) -> Verification:
    if isinstance(found, str):
        return replace(audited, found=audited.found + Audit(problems=[found]))
    return audited if found is None else replace(audited, sampled=len(found), least_cosine=min(found))
