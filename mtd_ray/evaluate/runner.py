"""Runs an evaluation on the cluster: one Ray task per (model, task), each result kept as soon as it is there."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from mtd_ray import layout
from mtd_ray.config import Recipe, fingerprint, teacher_fingerprint
from mtd_ray.corpus import read_pairs
from mtd_ray.errors import EvaluationError, MtdError
from mtd_ray.evaluate.models import Access, ConcatenatedTeachers, ExportedStudent, Measured, MeasuredTeacher
from mtd_ray.evaluate.results import Results, Row
from mtd_ray.evaluate.texts import RetrievalTexts
from mtd_ray.objects import ObjectStore

if TYPE_CHECKING:
    from mtd_ray.corpus import Manifest

_LOG = logging.getLogger(__name__)
_RETRIES = 3
_Scores = dict[tuple[str, str], dict[int, float]]  # (model's label, task) → size → score


@dataclass(frozen=True)
class Measurement:
    """One model on one task: where its texts come from and where its scores go."""

    model: Measured
    task: str
    pairs_key: str
    pairs_sha256: str
    scores_key: str
    identity: str

    def find(self, store: ObjectStore) -> dict[int, float] | None:
        """Scores by size of an earlier measurement of the same model on the same texts."""
        stored = store.find(self.scores_key)
        record = json.loads(stored) if stored else {}
        if record.get("identity") != self.identity:
            return None
        return {int(size): value for size, value in record["scores"].items()}

    def run(self, store: ObjectStore, access: Access) -> dict[int, float]:
        """Measure, keep the scores, and return them by size."""
        from mtd_ray.evaluate.score import score  # mteb takes seconds to import, and only here

        texts = RetrievalTexts.from_pairs(self.task, read_pairs(store, self.pairs_key, self.pairs_sha256))
        vectors = self.model.vectors(store, self.pairs_sha256, texts, access)
        scores = {size: score(texts, found) for size, found in vectors.items()}
        record = {"identity": self.identity, "model": self.model.name, "task": self.task, "scores": scores}
        store.put(self.scores_key, json.dumps(record).encode())
        return scores


def evaluate(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> Results:
    """Measure the student at every head, the untrained student, every teacher and the concatenated teachers, on every task.

    What an earlier call measured of the same model on the same texts is not measured again. Ray must be connected. Without
    ``evaluate.baselines`` teachers are left out.

    What API teachers are asked for counts against ``harvest.budget_usd``.

    Raises:
        BudgetSpent: the cap has no room for measuring an API teacher.
        EvaluationError: a measurement failed for good.
        MtdError: a measurement's own error: a teacher's account, storage, a missing student.
    """
    singles, combined = _models(recipe)
    wanted = [_planned(store, recipe, manifest, model, task) for model in (*singles, *combined) for task in manifest.pairs]
    done: _Scores = {}
    left: list[Measurement] = []
    for measurement in wanted:
        if (known := measurement.find(store)) is not None:
            done[measurement.model.label, measurement.task] = known
        else:
            left.append(measurement)
    with _access(store, recipe, left) as access:
        for models in (singles, combined):  # the concatenation reads what the single teachers leave
            done |= _measure(store, [measurement for measurement in left if measurement.model in models], access)
    rows = [row for model in (*singles, *combined) for row in _rows(model, tuple(manifest.pairs), done)]
    return Results(recipe.run_name, tuple(manifest.pairs), recipe.student.export_head, tuple(rows))


@contextmanager
def _access(store: ObjectStore, recipe: Recipe, left: Sequence[Measurement]) -> Iterator[Access]:
    """What the API teachers among the models that are left to measure are asked with."""
    from mtd_ray.harvest.sharing import shared  # brings Ray's actors, which the tasks that import this do not need

    asked = {name: recipe.teachers[name] for measurement in left for name in measurement.model.teacher_names}
    with shared(store, recipe, asked) as (limiters, budget):
        budgets = {name: budget.of(teacher_fingerprint(asked[name])) for name in limiters} if budget is not None else {}
        yield Access(limiters, budgets)


def _models(recipe: Recipe) -> tuple[list[Measured], list[Measured]]:
    run = recipe.run_name
    sizes = tuple(sorted(recipe.student.heads))
    resources = (recipe.train.num_cpus, recipe.train.num_gpus)
    singles: list[Measured] = [
        ExportedStudent("student", layout.run_student(run), sizes, *resources),
        ExportedStudent("untrained", layout.run_untrained(run), None, *resources),
    ]
    if not recipe.evaluate.baselines:
        return singles, []
    teachers = tuple(MeasuredTeacher(name, config) for name, config in recipe.teachers.items())
    return [*singles, *teachers], [ConcatenatedTeachers(teachers)] if len(teachers) > 1 else []


def _planned(store: ObjectStore, recipe: Recipe, manifest: Manifest, model: Measured, task: str) -> Measurement:
    scores_key = f"{layout.run_report(recipe.run_name)}/scores/{task}/{model.label}.json"
    pairs_sha256 = manifest.pairs_sha256[task]
    identity = fingerprint([model.identity(store), pairs_sha256])
    return Measurement(model, task, manifest.pairs[task], pairs_sha256, scores_key, identity)


def _measure(store: ObjectStore, wanted: Sequence[Measurement], access: Access) -> _Scores:
    done: _Scores = {}
    running = {_start(store, measurement, access): measurement for measurement in wanted}
    while running:
        (ready,), _ = ray.wait(list(running), num_returns=1)
        measurement = running.pop(ready)
        done[measurement.model.label, measurement.task] = scores = _result(ready, measurement, others=list(running))
        shown = ", ".join(f"{size}: {100 * value:.2f}" for size, value in scores.items())
        _LOG.info("   %s on %s: %s", measurement.model.label, measurement.task, shown)
    return done


def _start(store: ObjectStore, measurement: Measurement, access: Access) -> Any:
    model = measurement.model
    options = {"num_cpus": model.cpus, "num_gpus": model.gpus, "max_retries": _RETRIES, "name": f"evaluate {model.label}"}
    return ray.remote(_run).options(**options).remote(measurement, store, access)


def _run(measurement: Measurement, store: ObjectStore, access: Access) -> dict[int, float]:
    return measurement.run(store, access)


def _result(ready: Any, measurement: Measurement, others: list[Any]) -> dict[int, float]:
    try:
        scores: dict[int, float] = ray.get(ready)
    except RayError as error:
        for other in others:
            ray.cancel(other)
        if isinstance(error, RayTaskError) and isinstance(error.cause, MtdError):
            raise error.cause from None
        raise EvaluationError(f"measuring {measurement.model.label} on {measurement.task!r} failed: {error}") from error
    return scores


def _rows(model: Measured, tasks: tuple[str, ...], done: _Scores) -> list[Row]:
    by_task = {task: done[model.label, task] for task in tasks}
    sizes = next(iter(by_task.values()), {})
    return [Row(model.role, model.name, size, {task: found[size] for task, found in by_task.items()}) for size in sizes]
