"""Runs an evaluation on the cluster: one Ray task per (model, task), each result kept by the task itself as soon as it is there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from mtd_ray.config import Form, Recipe, teacher_fingerprint
from mtd_ray.errors import EvaluationError, MtdError, StorageError
from mtd_ray.evaluate.kept_scores import KeptScore
from mtd_ray.evaluate.measurement import Measurement, planned
from mtd_ray.evaluate.measuring.bases import BasesOf, CorpusTexts
from mtd_ray.evaluate.models import Access, Measured, models_of
from mtd_ray.evaluate.mteb_results import write_mteb
from mtd_ray.evaluate.results import MeasuredTask, Results, rows_of
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.tasks import Task, tasks_of
from mtd_ray.evaluate.views import View
from mtd_ray.objects import ObjectStore

if TYPE_CHECKING:
    from mtd_ray.corpus import Manifest

_LOG = logging.getLogger(__name__)
_RETRIES = 3
_READERS = 16
_Answer = TypeVar("_Answer")

Scores = dict[tuple[str, str], dict[View, TaskScore]]
"""By the model's label and the task's name, then by view."""
_Kept = dict[tuple[str, str], KeptScore]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: the numbers of the report, and what they are made of."""

    results: Results
    scores: Scores


def evaluate(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> Evaluation:
    """Measure the student at every head, the untrained student, every teacher and the concatenated teachers, on every task.

    What was ever measured of the same model on the same data is not measured again. Ray must be connected. Without
    ``evaluate.baselines`` teachers are left out. What API teachers are asked for counts against ``harvest.budget_usd``. Results in
    mteb's own files are written beside the report.

    Raises:
        BudgetSpent: the cap has no room for measuring an API teacher.
        EvaluationError: measurements failed for good, see :func:`measure_all`.
        MtdError: the only failed measurement's own error: a teacher's account, storage, a missing student.
    """
    tasks = tasks_of(store, recipe, manifest)
    singles, combined = models_of(recipe)
    kept: _Kept = {}
    for models in (singles, combined):  # a concatenation reads what the single teachers leave
        wanted = _plan(store, models, tasks, recipe.evaluate.forms, CorpusTexts.of(manifest, max(recipe.student.heads)))
        with _access(store, recipe, _names(wanted)) as access:
            kept |= _measured(store, wanted, access)
    models = (*singles, *combined)
    _write_mteb(store, recipe, models, tasks, kept)
    rows = [row for model in models for row in rows_of(model, {task.name: kept[model.label, task.name] for task in tasks})]
    told = tuple(MeasuredTask(task.name, task.type) for task in tasks)
    return Evaluation(Results(recipe.run_name, told, recipe.student.export_head, tuple(rows)), _scores(kept))


def measure_all(
    store: ObjectStore,
    models: Sequence[Measured],
    tasks: Sequence[Task],
    *,
    forms: tuple[Form, ...] = ("float32",),
    access: Access | None = None,
) -> Scores:
    """Measure models on tasks, each pair on the node that has room for the model; what is kept is not measured again.

    Every result is kept and logged as soon as it is there. After a failure the other measurements go on, so that calling again
    repeats only what failed. Ray must be connected.

    Args:
        forms: in which the vectors of students and other models are measured.
        access: what API teachers are asked with.

    Raises:
        EvaluationError: several measurements failed, or one without an error for people; each is named.
        MtdError: the only failed measurement's own error.
    """
    return _scores(_measured(store, _plan(store, models, tasks, forms), access or Access()))


def on_cluster(work: Callable[..., _Answer], *args: Any, cpus: float, gpus: float = 0.0, name: str) -> _Answer:
    """Call a function on a node that has room for it, again when the node is lost.

    Args:
        work: a function of a module, whose arguments and answer can be sent.
        name: what it does; for people.

    Raises:
        MtdError: the function's own error for people.
        EvaluationError: any other.
    """
    try:
        answer: _Answer = ray.get(_start(work, *args, cpus=cpus, gpus=gpus, name=name))
    except RayError as error:
        raise _translated(name, error) from None
    return answer


def _plan(
    store: ObjectStore,
    models: Sequence[Measured],
    tasks: Sequence[Task],
    forms: tuple[Form, ...],
    texts: CorpusTexts | None = None,
) -> list[Measurement]:
    with ThreadPoolExecutor(_READERS) as readers:  # a record per pair is a request to S3 per pair
        found = readers.map(lambda model: planned(store, model, tasks, forms, texts), models)
        return [measurement for measurements in found for measurement in measurements]


def _measured(store: ObjectStore, wanted: Sequence[Measurement], access: Access) -> _Kept:
    """Everything that is wanted: from what is kept, and the rest by measuring it."""
    done = {_pair(one): one.outcome(one.known) for one in wanted if not one.left}
    left = [one for one in wanted if one.left]
    fitted = _fitted(store, left, access)
    running = {
        _start(
            _run, one, store, access, fitted.get(one.bases), cpus=one.model.cpus, gpus=one.model.gpus, name=f"evaluate {one.name}"
        ): one
        for one in left
    }
    failures: list[MtdError] = []
    while running:
        (ready,), _ = ray.wait(list(running), num_returns=1)
        one = running.pop(ready)
        try:
            done[_pair(one)] = score = ray.get(ready)
        except RayError as error:
            failures.append(_translated(f"measuring {one.name}", error))
            _LOG.warning("   %s failed: %s%s", one.name, failures[-1], "; the others go on" if running else "")
        else:
            _LOG.info("   %s: %s (%d to go)", one.name, _shown(score), len(running))
    if failures:
        raise _all_of(failures, len(wanted))
    return done


def _fitted(store: ObjectStore, left: Sequence[Measurement], access: Access) -> dict[BasesOf | None, Any]:
    """A task for each model's bases, for which those that read them wait."""
    models = {one.bases: one.model for one in left if one.bases is not None}
    return {
        bases: _start(_fit, bases, store, model, access, cpus=model.cpus, gpus=model.gpus, name=f"fit bases of {model.label}")
        for bases, model in models.items()
    }


def _fit(bases: BasesOf, store: ObjectStore, model: Measured, access: Access) -> None:
    bases.fit(store, model, access)


def _run(measurement: Measurement, store: ObjectStore, access: Access, fitted: None) -> KeptScore:
    return measurement.run(store, access)


def _start(work: Callable[..., Any], *args: Any, cpus: float, gpus: float, name: str) -> Any:
    # An error of storage may pass; all other errors for people come again.
    options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": _RETRIES, "retry_exceptions": [StorageError], "name": name}
    return ray.remote(work).options(**options).remote(*args)


def _translated(what: str, error: RayError) -> MtdError:
    if isinstance(error, RayTaskError) and isinstance(error.cause, MtdError):
        return error.cause
    return EvaluationError(f"{what} failed: {error}")


def _all_of(failures: Sequence[MtdError], wanted: int) -> MtdError:
    """One error for all: the error itself where there is only one, or it is always the same."""
    texts = dict.fromkeys(map(str, failures))
    if len(texts) == 1:
        return failures[0]
    lines = "".join(f"\n  {text}" for text in texts)
    return EvaluationError(f"{len(failures)} of {wanted} measurements failed; the others are kept:{lines}")


def _pair(measurement: Measurement) -> tuple[str, str]:
    return measurement.model.label, measurement.task.name


def _scores(kept: _Kept) -> Scores:
    return {pair: dict(score.scores) for pair, score in kept.items()}


def _shown(score: KeptScore) -> str:
    whole = {view.size: found.main for view, found in score.scores.items() if view.form == "float32"}
    return ", ".join(f"{size}: {100 * main:.2f}" for size, main in sorted(whole.items()))


def _names(wanted: Sequence[Measurement]) -> set[str]:
    """The teachers that are asked."""
    return {name for one in wanted if one.left for name in one.model.teacher_names}


@contextmanager
def _access(store: ObjectStore, recipe: Recipe, names: Collection[str]) -> Iterator[Access]:
    """What the API teachers of these names are asked with."""
    from mtd_ray.harvest.sharing import shared  # brings Ray's actors, which the tasks that import this do not need

    asked = {name: teacher for name, teacher in recipe.teachers.items() if name in names}
    with shared(store, recipe, asked) as (limiters, budget):
        budgets = {name: budget.of(teacher_fingerprint(asked[name])) for name in limiters} if budget is not None else {}
        yield Access(limiters, budgets)


def _write_mteb(
    store: ObjectStore, recipe: Recipe, models: Sequence[Measured], tasks: Sequence[Task], kept: Mapping[tuple[str, str], KeptScore]
) -> None:
    for model in models:
        by_task = {task.name: kept[model.label, task.name] for task in tasks}
        sizes = [view.size for score in by_task.values() for view in score.scores]
        if sizes:
            size = recipe.student.export_head if model.role == "student" else max(sizes)
            write_mteb(store, recipe.run_name, by_task, View(size))
