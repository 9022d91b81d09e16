"""Everything that a report says, brought together: from storage, and measured where nobody knows it yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from mtd_ray import layout
from mtd_ray.config import Recipe, fingerprint
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.gates import unmet
from mtd_ray.evaluate.models import ExportedStudent, models_of
from mtd_ray.evaluate.results import Results, Row, Scores
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.remote import Call, on_cluster
from mtd_ray.report.agreement import agreements
from mtd_ray.report.costs import embedding_costs, harvest_costs
from mtd_ray.report.curves import curves
from mtd_ray.report.data import Agreement, ReportData
from mtd_ray.report.facts import facts
from mtd_ray.report.lengths import length_scores
from mtd_ray.report.speed import Speed, machine_name, measured_speed

if TYPE_CHECKING:
    from mtd_ray.corpus import Manifest
    from mtd_ray.objects import ObjectStore


def gather(store: ObjectStore, recipe: Recipe, manifest: Manifest, results: Results, scores: Scores) -> ReportData:
    """The report of a run whose student is published and measured. Ray must be connected.

    The student's agreement with its teachers and its speed are measured on the cluster, each once in the life of the run; its speed
    again on another type of machine.

    Args:
        scores: by the model's label and the task's name, then by view, as the evaluation gives them.

    Raises:
        MtdError: something that belongs to the run is missing or damaged, or a measurement failed.
    """
    harvested = harvest_costs(store, recipe, manifest)
    own = _by_task(scores, "student", results.student)
    best = results.best_teacher
    return ReportData(
        title=f"{recipe.name}: what the student kept",
        results=results,
        agreements=_agreements(store, recipe, manifest),
        lengths=length_scores(own, _by_task(scores, f"teacher-{best.name}", best) if best is not None else {}),
        curves=curves(store, recipe.run_name),
        harvest=harvested,
        embedding=embedding_costs(recipe, harvested, _speed(store, recipe, manifest)),
        gates=unmet(recipe.require, results),
        facts=facts(recipe, manifest, own, results.whole),
    )


def _by_task(scores: Scores, label: str, row: Row | None) -> dict[str, TaskScore]:
    """A row's scores by task."""
    if row is None:
        return {}
    return {task: views[row.view] for (model, task), views in scores.items() if model == label and row.view in views}


def _agreements(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> tuple[Agreement, ...]:
    student = _student(recipe)

    def measure() -> list[dict[str, Any]]:
        found = on_cluster(_call("agreement", student), agreements, store, recipe, manifest, student, error=EvaluationError)
        return [asdict(entry) for entry in found]

    identity = [student.identity(store), dict(student.prompts), recipe.evaluate.baselines]
    return tuple(Agreement(**entry) for entry in _once(store, recipe, "agreement", identity, measure))


def _speed(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> Speed:
    """Measured once for every type of machine: which it will be, only the cluster knows."""
    student = replace(_student(recipe), sizes=(recipe.student.export_head,))

    def measure() -> dict[str, Any]:
        call = _call("speed", student)
        return asdict(on_cluster(call, measured_speed, store, student, manifest, student.gpus, error=EvaluationError))

    machine = on_cluster(_call("machine", student), machine_name, student.gpus, error=EvaluationError)
    identity = [student.identity(store), dict(student.prompts), student.cpus, student.gpus, machine]
    return Speed(**_once(store, recipe, "speed", identity, measure))


def _call(what: str, student: ExportedStudent) -> Call:
    return Call(f"{what} of the student", student.label, student.cpus, student.gpus)


def _student(recipe: Recipe) -> ExportedStudent:
    return next(model for model in models_of(recipe)[0] if isinstance(model, ExportedStudent) and model.role == "student")


def _once(store: ObjectStore, recipe: Recipe, what: str, identity: list[Any], measure: Callable[[], Any]) -> Any:
    """What was measured earlier of the same student, else measure and keep it. A JSON value; an empty one is not kept."""
    key, digest = layout.run_measured(recipe.run_name, what), fingerprint(identity)
    if (stored := store.find(key)) is not None and (kept := json.loads(stored))["identity"] == digest:
        return kept["value"]
    if value := measure():
        store.put(key, json.dumps({"identity": digest, "value": value}).encode())
    return value
