"""A recipe executed: corpus → harvest → distil → export → evaluate → report, each step resumable on its own.

Every step looks at what is already committed and does the rest, so running again after any interruption continues, and running a
finished run again does nothing.
"""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest, build_corpus
from mtd_ray.distill import check_alignment, check_batches, distill, final_student, initial_student
from mtd_ray.distill.numbers.trackers import check_trackers
from mtd_ray.evaluate import Results, assert_student_improved, evaluate, write_report
from mtd_ray.export import export_student
from mtd_ray.harvest import harvest
from mtd_ray.job import step
from mtd_ray.model_card import ModelCard
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import publish_folder
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
        MtdError: any step's own error; committed work stays and the next call continues from it.
    """
    if (finished := store.find(layout.run_finished(recipe.run_name))) is not None:
        return Outcome(recipe.run_name, Results.from_json(json.loads(finished)["results"]), already_finished=True)
    check_trackers(recipe)
    store.put(layout.run_recipe(recipe.run_name), recipe.model_dump_json(indent=1).encode())
    with step("corpus"):
        manifest = build_corpus(store, recipe)
        check_batches(recipe, manifest)  # what harvesting would pay for must be usable
    with step("harvest"):
        harvest(store, recipe, manifest, teachers=recipe.used_teachers)
    with step("distil"):
        check_alignment(store, recipe, manifest)
        distill(store, recipe, manifest)
    with step("export"):
        export(store, recipe, manifest)
    with step("evaluate"):
        results = evaluate(store, recipe, manifest)
        report(store, recipe, results)
    assert_student_improved(results)
    record = {"run": recipe.run_name, "results": results.to_json()}
    store.put(layout.run_finished(recipe.run_name), json.dumps(record).encode())
    return Outcome(recipe.run_name, results, already_finished=False)


def export(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> None:
    """Publish the trained student and, as the baseline to beat, the same student before its first step."""
    run = recipe.run_name
    card = ModelCard.of(recipe, manifest)
    _publish(store, final_student(store, recipe), layout.run_student(run), card)
    _publish(store, initial_student(recipe), layout.run_untrained(run), None)


def _publish(store: ObjectStore, student: Student, prefix: str, card: ModelCard | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        export_student(student, Path(folder), card=card)
        publish_folder(store, Path(folder), prefix)


def report(store: ObjectStore, recipe: Recipe, results: Results) -> None:
    """Write the report and upload it beside the student."""
    with tempfile.TemporaryDirectory() as folder:
        write_report(store, recipe, results, Path(folder))
