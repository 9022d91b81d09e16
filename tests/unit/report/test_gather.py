"""A report's data of a run whose student is published: all of it is there, and nothing is measured twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.errors import MtdError
from mtd_ray.evaluate.results import MeasuredTask, Results, Row
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.views import View
from mtd_ray.export import export_student
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import publish_folder
from mtd_ray.remote import Call
from mtd_ray.report import gather as module
from mtd_ray.report.facts import facts
from mtd_ray.report.gather import gather
from mtd_ray.report.speed import Speed
from mtd_ray.student import Student
from tests.tiny_models import tiny_bert
from tests.tiny_run import store_run, tiny_recipe

STUDENT, TEACHER = View(16), View(12)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the work that was sent to the cluster; it is done here, at a speed that is given."""
    names: list[str] = []

    def here(call: Call, work: Callable[..., Any], *args: Any, error: type[MtdError]) -> Any:
        names.append(call.name)
        return work(*args)

    monkeypatch.setattr(module, "on_cluster", here)
    monkeypatch.setattr(
        module, "measured_speed", lambda store, student, *rest: Speed(250.0 * len(student.sizes), "here", "float32", 64)
    )
    monkeypatch.setattr(module, "machine_name", lambda gpus: "here")
    return names


@pytest.fixture
def recipe(local_store: ObjectStore, tmp_path: Path) -> Recipe:
    return tiny_recipe(
        local_store, tiny_bert(tmp_path / "bert"), train={"workers": 1, "length_window": 1}, require={"tasks": {"docs": 90}},
        evaluate={"prompts": {}},
    )  # fmt: skip


@pytest.fixture
def manifest(local_store: ObjectStore, recipe: Recipe, tmp_path: Path) -> Manifest:
    export_student(Student.build(recipe.student, seed=1), tmp_path / "student", card=None)
    publish_folder(local_store, tmp_path / "student", layout.run_student(recipe.run_name))
    return store_run(local_store, recipe)


def score(mean: float) -> TaskScore:
    items = tuple(mean + np.linspace(-0.1, 0.1, 30))
    return TaskScore(mean, "query", items, (), (0,) * 30, (10,) * 15 + (300,) * 15, {"query": "find: ", "document": ""})


def measured(recipe: Recipe) -> tuple[Results, dict[tuple[str, str], dict[View, TaskScore]]]:
    rows = (
        Row("student", "student", 16, {"docs": 0.7}),
        Row("untrained", "untrained", 16, {"docs": 0.2}),
        Row("teacher", "alpha", 12, {"docs": 0.8}, failed={"docs": 1200}),
        Row("teacher", "beta", 4, {"docs": 0.5}),
    )
    scores = {
        ("student", "docs"): {STUDENT: score(0.7)},
        ("untrained", "docs"): {STUDENT: score(0.2)},
        ("teacher-alpha", "docs"): {TEACHER: score(0.8)},
    }
    return Results(recipe.run_name, (MeasuredTask("docs", "Retrieval"),), 16, rows), scores


def test_everything_is_gathered(local_store: ObjectStore, recipe: Recipe, manifest: Manifest, called: list[str]) -> None:
    line = {"stage": "head", "step": 1, "loss": 3.0, "parts": {}, "learning_rate": 0.1, "gradient_norm": 1.0, "tokens_per_s": 1.0}
    local_store.put(layout.run_metrics(recipe.run_name), json.dumps(line).encode())
    data = gather(local_store, recipe, manifest, *measured(recipe))
    assert [(entry.size, entry.cosine is None) for entry in data.agreements] == [(8, True), (16, False)]
    assert [(entry.most, entry.items, entry.student < entry.teacher) for entry in data.lengths if entry.teacher] == [
        (128, 15, True), (512, 15, True),
    ]  # fmt: skip
    assert [point.values["lr"] for point in data.curves] == [0.1]
    assert [cost.teacher for cost in data.harvest] == ["alpha", "beta"]
    assert (data.embedding[0].name, data.embedding[0].texts_per_second) == ("student", 250.0)  # one size: the default
    assert data.gates == ("require.tasks.docs: 70.00 is 20.00 less than 90",)
    facts = dict(data.facts)
    assert facts["prompt before queries"] == "'find: '"
    assert facts["prompt before documents"] == "none"
    assert facts["texts that teacher alpha could not embed"].startswith("1,200 of docs; its score there is too low")
    assert facts["student"].startswith("bert, mean pooling")  # of a folder only its own name
    assert "alpha" in facts["teacher alpha"]
    assert "mtd-ray" in facts["versions"]
    json.dumps(data.to_json())


def test_agreement_and_speed_are_measured_once(
    monkeypatch: pytest.MonkeyPatch,
    local_store: ObjectStore,
    recipe: Recipe,
    manifest: Manifest,
    called: list[str],
    tmp_path: Path,
) -> None:
    first = gather(local_store, recipe, manifest, *measured(recipe))
    assert sorted(called) == ["agreement of the student", "machine of the student", "speed of the student"]
    called.clear()
    assert gather(local_store, recipe, manifest, *measured(recipe)) == first
    assert called == ["machine of the student"]
    monkeypatch.setattr(module, "machine_name", lambda gpus: "elsewhere")
    gather(local_store, recipe, manifest, *measured(recipe))
    assert called.count("speed of the student") == 1
    called.clear()
    export_student(Student.build(recipe.student, seed=2), tmp_path / "other", card=None)
    publish_folder(local_store, tmp_path / "other", layout.run_student(recipe.run_name))
    assert gather(local_store, recipe, manifest, *measured(recipe)).agreements != first.agreements
    assert {"agreement of the student", "speed of the student"} < set(called)


def test_a_run_without_tasks_still_has_a_report(
    local_store: ObjectStore, recipe: Recipe, manifest: Manifest, called: list[str]
) -> None:
    data = gather(local_store, recipe, manifest, Results(recipe.run_name, (), 16, ()), {})
    assert data.lengths == ()
    assert data.harvest
    assert data.gates == ("require: the student was not measured: add tasks to evaluate",)


def test_prompts_that_differ_are_said_with_their_tasks(local_store: ObjectStore, recipe: Recipe, manifest: Manifest) -> None:
    prompts = {"docs": "find: ", "more": "find: ", "other": ""}
    scores = {task: replace(score(0.5), prompts={"query": prompt}) for task, prompt in prompts.items()}
    placed = recipe.model_copy(update={"evaluate": recipe.evaluate.model_copy(update={"data": "file:///home/someone/tasks"})})
    told = dict(facts(placed, manifest, scores))
    assert told["prompt before queries"] == "'find: ' (docs, more); none (other)"
    assert told["data of the tasks"] == "from tasks"
