"""An evaluation: which models on which tasks, what is known of them, and the rest measured on the cluster."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtd_ray.config import Form, Recipe, teacher_fingerprint
from mtd_ray.evaluate.kept_scores import KeptScore
from mtd_ray.evaluate.measured import Kept, measured
from mtd_ray.evaluate.measurement import Measurement, planned
from mtd_ray.evaluate.measuring.bases import CorpusTexts
from mtd_ray.evaluate.models import Access, Measured, models_of
from mtd_ray.evaluate.mteb_results import write_mteb
from mtd_ray.evaluate.results import MeasuredTask, Results, Scores, rows_of
from mtd_ray.evaluate.tasks import Task, tasks_of
from mtd_ray.evaluate.views import View
from mtd_ray.objects import ObjectStore

if TYPE_CHECKING:
    from mtd_ray.corpus import Manifest

_READERS = 16


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
    kept: Kept = {}
    for models in (singles, combined):  # a concatenation reads what the single teachers leave
        wanted = _plan(store, models, tasks, recipe.evaluate.forms, CorpusTexts.of(manifest, max(recipe.student.heads)))
        with _access(store, recipe, _names(wanted)) as access:
            kept |= measured(store, wanted, access)
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
    return _scores(measured(store, _plan(store, models, tasks, forms), access or Access()))


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


def _scores(kept: Kept) -> Scores:
    return {pair: dict(score.scores) for pair, score in kept.items()}


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
        found = [(task, kept[model.label, task.name]) for task in tasks]
        sizes = [view.size for _, score in found for view in score.scores]
        if sizes:
            size = recipe.student.export_head if model.role == "student" else max(sizes)
            write_mteb(store, recipe.run_name, model.published(store), found, View(size))
