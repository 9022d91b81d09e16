"""A recipe executed: corpus → harvest → distil → export → evaluate → report, each step resumable on its own.

Every step looks at what is already committed and does the rest, so running again after any interruption continues, and running a
finished run again does nothing. A finished run whose recipe asks for other measurements, or for more, does what is new.
"""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtd_ray import layout
from mtd_ray.card import ModelCard
from mtd_ray.config import Recipe, fingerprint
from mtd_ray.corpus import Manifest, build_corpus
from mtd_ray.distill import DistillReceipt, check_alignment, check_batches, distill, final_student, initial_student
from mtd_ray.distill.numbers.trackers import check_trackers
from mtd_ray.errors import MtdError
from mtd_ray.evaluate.gates import RequirementError, unmet
from mtd_ray.evaluate.results import Results, assert_student_improved
from mtd_ray.evaluate.runner import Evaluation, evaluate
from mtd_ray.evaluate.tasks import check_tasks
from mtd_ray.evaluate.views import View
from mtd_ray.export import export_student
from mtd_ray.harvest import harvest
from mtd_ray.job import step
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import is_published, publish_folder, put_card
from mtd_ray.report import write_report
from mtd_ray.report.gather import gather
from mtd_ray.student import Student

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a run left behind. ``already_finished`` says that this call found it done."""

    run: str
    results: Results
    already_finished: bool


def run_recipe(store: ObjectStore, recipe: Recipe) -> Outcome:
    """Execute a recipe, or what is left of it. Ray must be connected.

    Raises:
        RequirementError: the student does not reach what the recipe requires; every call says so again.
        TrainingError: it is no better than before its first step.
        MtdError: any step's own error; committed work stays and the next call continues from it.
    """
    if (results := _finished(store, recipe)) is not None:
        return Outcome(recipe.run_name, results, already_finished=True)
    check_trackers(recipe)
    check_tasks(store, recipe)
    store.put(layout.run_recipe(recipe.run_name), recipe.model_dump_json(indent=1).encode())
    with step("corpus"):
        manifest = build_corpus(store, recipe)
        check_batches(recipe, manifest)  # what harvesting would pay for must be usable
    with step("harvest"):
        harvest(store, recipe, manifest, teachers=recipe.used_teachers)
    with step("distil"):
        check_alignment(store, recipe, manifest)
        receipt = distill(store, recipe, manifest)
    with step("export"):
        export(store, recipe, manifest, receipt)
    return Outcome(recipe.run_name, evaluate_and_report(store, recipe, manifest), already_finished=False)


def export(store: ObjectStore, recipe: Recipe, manifest: Manifest, trained: DistillReceipt) -> None:
    """Publish the trained student and, as the baseline to beat, the same student before its first step.

    What is published already of the same weights in the same dtype stays.
    """
    run = recipe.run_name
    record = {"checkpoint": trained.checkpoint, "seconds": trained.seconds, "dtype": recipe.export.dtype}
    published = all(is_published(store, prefix) for prefix in (layout.run_student(run), layout.run_untrained(run)))
    if published and _exported(store, run) == record:
        return
    card = ModelCard.of(recipe, manifest, seconds=trained.seconds)
    _publish(store, recipe, final_student(store, recipe), layout.run_student(run), card)
    _publish(store, recipe, initial_student(recipe), layout.run_untrained(run), None)
    store.put(layout.run_exported(run), json.dumps(record).encode())


def evaluate_and_report(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> Results:
    """Measure what was exported, write the report and the model card, and record the run as finished.

    Raises:
        RequirementError, TrainingError: see :func:`run_recipe`; after all is written but the record.
        EvaluationError: a measurement failed.
    """
    with step("evaluate"):
        evaluation = evaluate(store, recipe, manifest)
    with step("report"):
        report(store, recipe, manifest, evaluation)
    results = evaluation.results
    try:
        _assert_good(store, recipe, results)
    except MtdError:
        store.delete(layout.run_finished(recipe.run_name))  # of a recipe that required less
        raise
    record = {"run": recipe.run_name, "asked": _asked(recipe), "results": results.to_json()}
    store.put(layout.run_finished(recipe.run_name), json.dumps(record).encode())
    return results


def report(store: ObjectStore, recipe: Recipe, manifest: Manifest, evaluation: Evaluation) -> None:
    """Write the report beside the student, and what was measured into the student's model card."""
    results, run = evaluation.results, recipe.run_name
    with tempfile.TemporaryDirectory() as folder:
        write_report(store, recipe, gather(store, recipe, manifest, results, evaluation.scores), Path(folder))
    default = View(recipe.student.export_head)
    scores = {task.name: evaluation.scores["student", task.name][default] for task in results.tasks}
    seconds = _exported(store, run).get("seconds")
    put_card(store, layout.run_student(run), ModelCard.of(recipe, manifest, results, scores=scores, seconds=seconds).markdown())


def _finished(store: ObjectStore, recipe: Recipe) -> Results | None:
    """The results of a run that did all that its recipe asks for."""
    record = json.loads(store.find(layout.run_finished(recipe.run_name)) or b"{}")
    return Results.from_json(record["results"]) if record.get("asked") == _asked(recipe) else None


def _asked(recipe: Recipe) -> str:
    """Digest of what decides results, report and card, beside what the run's name stands for."""
    return fingerprint(recipe.model_dump(mode="json", include={"teachers", "student", "evaluate", "require", "export"}))


def _assert_good(store: ObjectStore, recipe: Recipe, results: Results) -> None:
    assert_student_improved(results)
    if lines := unmet(recipe.require, results):
        where = f"{store.url}/{layout.run_report(recipe.run_name)}"
        raise RequirementError(
            "\n  ".join((f"the student of {recipe.run_name} is not good enough:", *lines, f"see {where}")), results
        )


def _exported(store: ObjectStore, run: str) -> dict[str, Any]:
    """What the run's folders were exported from."""
    record: dict[str, Any] = json.loads(store.find(layout.run_exported(run)) or b"{}")
    return record


def _publish(store: ObjectStore, recipe: Recipe, student: Student, prefix: str, card: ModelCard | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        export_student(student, Path(folder), card=card, dtype=recipe.export.dtype)
        publish_folder(store, Path(folder), prefix)
