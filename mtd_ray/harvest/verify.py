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
from mtd_ray.errors import CorpusError, MtdError, TargetError
from mtd_ray.harvest.budget import SharedBudget, start_budget
from mtd_ray.harvest.reembed import reembed
from mtd_ray.harvest.table import aligned
from mtd_ray.objects import ObjectStore
from mtd_ray.remote import Call, on_cluster
from mtd_ray.targets import TargetStore, pending_parts
from mtd_ray.targets.audit import Audit, audit_shard
from mtd_ray.teachers import Budget, TeacherError

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
        unasked: why the teacher could not be asked, which says nothing about its targets; None when it was, or should not be.
    """

    teacher: str
    found: Audit
    pending: int
    sampled: int = 0
    least_cosine: float | None = None
    unasked: str | None = None

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
        One per teacher. Damage is in there, not raised, and so is a teacher that cannot be asked.
    """
    names = tuple(dict.fromkeys(recipe.teachers if teachers is None else teachers))
    found = [_audited(store, recipe, manifest, name) for name in names]
    # Only targets that are whole: others would be paid for in vain.
    whole = [audited.teacher for audited in found if not audited.problems] if sample_rows > 0 else []
    budget = start_budget(store, recipe) if whole else None
    try:
        compared = {name: _compared(_Sample(store, recipe, manifest, name, sample_rows), budget) for name in whole}
    finally:
        if budget is not None:
            budget.close()
    return [_together(audited, compared.get(audited.teacher)) for audited in found]


def report(found: Sequence[Verification]) -> str:
    """A table, and below it the problems and who could not be asked."""
    header = ("teacher", "parts", "rows", "no vector", "problems", "norm", "least", "most", "cosine")
    lines = aligned([header, *(_row(teacher) for teacher in found)])
    problems = [problem for teacher in found for problem in teacher.problems]
    lines += [f"! {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"! and {len(problems) - _SHOWN_PROBLEMS} more")
    lines += [f"? {teacher.teacher} could not be asked: {teacher.unasked}" for teacher in found if teacher.unasked]
    return "\n".join(lines)


def require_whole(found: Sequence[Verification]) -> None:
    """Raise TargetError when anything is missing or damaged, TeacherError when a teacher could not be asked."""
    if bad := [teacher.teacher for teacher in found if teacher.problems]:
        raise TargetError(f"targets of {', '.join(bad)} are not in order: the lines above name each part and what to do")
    if unasked := [teacher.teacher for teacher in found if teacher.unasked]:
        raise TeacherError(
            f"all targets are there and undamaged, but {', '.join(unasked)} could not be asked whether they are right: "
            f"the lines above say why; verify again, or with --sample-rows 0 to ask nobody"
        )


def _row(teacher: Verification) -> tuple[str, ...]:
    norms = teacher.found.norms
    lengths: tuple[str, ...] = ("", "", "")
    if norms.count:
        lengths = (f"{norms.mean:.4g} ± {norms.deviation:.2g}", f"{norms.least:.4g}", f"{norms.most:.4g}")
    cosine = "not asked" if teacher.unasked else ""
    if teacher.least_cosine is not None:
        cosine = f"≥ {teacher.least_cosine:.5f} in {teacher.sampled} rows"
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
class _Compared:
    """What embedding a sample again came to: cosines, or what is wrong with the targets, or why the teacher could not be asked."""

    cosines: Sequence[float] = ()
    problem: str | None = None
    unasked: str | None = None


@dataclass(frozen=True)
class _Sample:
    """Rows for a teacher to embed again."""

    store: ObjectStore
    recipe: Recipe
    manifest: Manifest
    teacher: str
    rows: int

    def compared(self, budget: Budget | None) -> _Compared:
        """Errors come back as messages: Ray would wrap and repeat them."""
        try:
            return _Compared(reembed(self.store, self.recipe, self.manifest, self.teacher, rows=self.rows, budget=budget))
        except (TargetError, CorpusError) as error:
            return _Compared(problem=str(error))
        except MtdError as error:
            return _Compared(unasked=str(error))


def _compared(sample: _Sample, budget: SharedBudget | None) -> _Compared:
    """On a node that has what the recipe gives the teacher."""
    teacher = sample.recipe.teachers[sample.teacher]
    held: Budget | None = None
    if not isinstance(teacher, LocalTeacher):
        _log.info("teacher %s embeds %d rows again, which its provider charges for", sample.teacher, sample.rows)
        held = budget.of(teacher_fingerprint(teacher)) if budget else None
    gpus = teacher.num_gpus if isinstance(teacher, LocalTeacher) else 0.0
    call = Call(f"embed rows of {sample.teacher} again", f"teacher {sample.teacher}", teacher.num_cpus, gpus)
    return on_cluster(call, _Sample.compared, sample, held, error=TeacherError)


def _together(audited: Verification, compared: _Compared | None) -> Verification:
    if compared is None:
        return audited
    if compared.problem is not None:
        return replace(audited, found=audited.found + Audit(problems=[compared.problem]))
    least = min(compared.cosines, default=None)
    return replace(audited, sampled=len(compared.cosines), least_cosine=least, unasked=compared.unasked)
