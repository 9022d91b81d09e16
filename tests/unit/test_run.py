"""When a run is finished, and when it is not: its steps are stood in for, its records are real."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from mtd_ray import layout, run
from mtd_ray.config import Recipe
from mtd_ray.distill import DistillReceipt
from mtd_ray.errors import MtdError, TrainingError
from mtd_ray.evaluate.gates import RequirementError
from mtd_ray.evaluate.results import MeasuredTask, Results, Row
from mtd_ray.evaluate.runner import Evaluation
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.tasks import check_tasks
from mtd_ray.evaluate.views import View
from mtd_ray.objects import ObjectStore
from mtd_ray.run import run_recipe
from tests.tiny_run import tiny_recipe


@dataclass
class Steps:
    """What was done, and how good the student is."""

    done: list[str] = field(default_factory=list)
    score: float = 0.8
    checkpoint: str = "first"


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps()

    def stand_in(name: str, answer: Any = None) -> None:
        def called(*_: Any, **__: Any) -> Any:
            steps.done.append(name)
            return answer() if callable(answer) else answer

        monkeypatch.setattr(run, name, called)

    @contextmanager
    def silent(_: str) -> Iterator[None]:
        yield

    def publish(store: ObjectStore, _recipe: Recipe, _student: Any, prefix: str, _card: Any) -> None:
        steps.done.append("publish")
        store.put(f"{prefix}/manifest.json", b'{"files": {}}')

    for name in (
        "check_trackers",
        "check_tasks",
        "build_corpus",
        "check_batches",
        "harvest",
        "check_alignment",
        "gather",
        "write_report",
    ):
        stand_in(name)
    for name in ("final_student", "initial_student"):
        stand_in(name)
    stand_in("distill", lambda: DistillReceipt("run", 1, 4, 2.0, steps.checkpoint, already_finished=True))
    stand_in("evaluate", lambda: evaluation(steps.score))
    monkeypatch.setattr(run, "_publish", publish)
    monkeypatch.setattr(run, "step", silent)
    monkeypatch.setattr(run, "ModelCard", Card)
    return steps


class Card:
    @classmethod
    def of(cls, *_: Any, **__: Any) -> Card:
        return cls()

    def markdown(self) -> str:
        return "# card"


def evaluation(score: float) -> Evaluation:
    rows = (Row("student", "student", 16, {"sts": score}), Row("untrained", "untrained", 16, {"sts": 0.5}))
    return Evaluation(Results("run", (MeasuredTask("sts", "STS"),), 16, rows), {("student", "sts"): {View(16): TaskScore(score)}})


def recipe(store: ObjectStore, **more: Any) -> Recipe:
    return tiny_recipe(store, "unused", **more)


def test_a_finished_run_does_nothing_until_its_recipe_asks_for_more(local_store: ObjectStore, steps: Steps) -> None:
    assert not run_recipe(local_store, recipe(local_store)).already_finished
    assert steps.done.count("publish") == 2
    assert local_store.get(f"{layout.run_student(recipe(local_store).run_name)}/README.md") == b"# card"

    steps.done.clear()
    outcome = run_recipe(local_store, recipe(local_store))
    assert (outcome.already_finished, outcome.results, steps.done) == (True, evaluation(0.8).results, [])

    more = recipe(local_store, evaluate={"tasks": ["STS12"]})
    assert not run_recipe(local_store, more).already_finished
    assert "evaluate" in steps.done
    assert "publish" not in steps.done
    assert run_recipe(local_store, more).already_finished


def test_a_student_below_what_is_required_is_never_finished(local_store: ObjectStore, steps: Steps) -> None:
    demanding = recipe(local_store, require={"tasks": {"sts": 85}})
    for _ in range(2):
        with pytest.raises(RequirementError, match=r"require\.tasks\.sts: 80\.00 is 5\.00 less than 85\n  see .*report") as caught:
            run_recipe(local_store, demanding)
        assert caught.value.results == evaluation(0.8).results
    assert steps.done.count("write_report") == 2
    assert steps.done.count("publish") == 2
    assert not local_store.exists(layout.run_finished(demanding.run_name))

    assert not run_recipe(local_store, recipe(local_store)).already_finished
    with pytest.raises(RequirementError):
        run_recipe(local_store, demanding)
    assert not local_store.exists(layout.run_finished(demanding.run_name))


def test_a_student_that_learned_nothing_is_not_finished(local_store: ObjectStore, steps: Steps) -> None:
    steps.score = 0.4
    with pytest.raises(TrainingError, match="training did not help"):
        run_recipe(local_store, recipe(local_store))
    assert not local_store.exists(layout.run_finished(recipe(local_store).run_name))


def test_other_weights_and_another_dtype_are_exported(local_store: ObjectStore, steps: Steps) -> None:
    run_recipe(local_store, recipe(local_store))
    run_recipe(local_store, recipe(local_store, export={"dtype": "bfloat16"}))
    assert steps.done.count("publish") == 4
    steps.checkpoint = "trained again"
    run_recipe(local_store, recipe(local_store))
    assert steps.done.count("publish") == 6


@pytest.mark.parametrize(
    ("more", "tells"),
    [
        ({"evaluate": {"tasks": ["scifact"]}}, r"mteb .* knows no task 'scifact'; did you mean 'SciFact'\?"),
        ({"evaluate": {"own": {"tickets": {"type": "sts", "path": "/nowhere"}}}}, "/nowhere"),
        ({"evaluate": {"benchmarks": ["MTEB(eng, v2)"]}, "require": {"tasks": {"STS1": 80}}}, r"require\.tasks\.STS1: .*'STS1\d'"),
    ],
)
def test_a_wrong_task_is_told_before_anything_starts(
    local_store: ObjectStore, steps: Steps, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], tells: str
) -> None:
    monkeypatch.setattr(run, "check_tasks", check_tasks)
    with pytest.raises(MtdError, match=tells):
        run_recipe(local_store, recipe(local_store, **more))
    assert steps.done == ["check_trackers"]
