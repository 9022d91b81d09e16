"""Which measurements run at once, and which in turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate import measured as room
from mtd_ray.evaluate.measured import measured
from mtd_ray.evaluate.models import Access
from mtd_ray.objects import ObjectStore
from mtd_ray.teachers import TeacherUnavailable, Unlimited


@dataclass
class Cluster:
    """Calls end in the order in which they were started; those of the names that fail, with an error."""

    failing: str = ""
    unavailable: bool = False
    log: list[str] = field(default_factory=list)

    def start(self, call: Any, work: Any, *args: Any) -> str:
        self.log.append(f"+{call.name}")
        return str(call.name)

    def first_ended(self, running: dict[str, Any]) -> str:
        return next(iter(running))

    def answer(self, reference: str, what: str, error: type[Exception]) -> Any:
        self.log.append(f"-{reference}")
        if reference == self.failing:
            raise TeacherUnavailable("no answer") if self.unavailable else error(what)
        return SimpleNamespace(scores={})


def measurement(role: str, model: str, task: str) -> Any:
    about = SimpleNamespace(role=role, name=model, label=model, cpus=1.0, gpus=0.0)
    return SimpleNamespace(model=about, task=SimpleNamespace(name=task), name=f"{model} on {task}", left=True, bases=None)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    stand_in = Cluster()
    for name in ("start", "first_ended", "answer"):
        monkeypatch.setattr(room, name, getattr(stand_in, name))
    monkeypatch.setattr(room, "warn_of_scarce_nodes", lambda calls: None)
    return stand_in


def test_a_teacher_that_is_away_is_waited_for_once(cluster: Cluster, local_store: ObjectStore) -> None:
    cluster.failing, cluster.unavailable = "evaluate api on 1", True
    with pytest.raises(TeacherUnavailable):
        measured(local_store, [measurement("teacher", "api", task) for task in "123"], Access({"api": Unlimited()}))
    assert cluster.log == ["+evaluate api on 1", "-evaluate api on 1"]


@pytest.mark.parametrize("failing", ["", "evaluate api on 1"])
def test_tasks_of_an_api_teacher_run_in_turn(cluster: Cluster, local_store: ObjectStore, failing: str) -> None:
    cluster.failing = failing
    models = (("student", "student"), ("teacher", "local"), ("teacher", "api"))
    wanted = [measurement(role, model, task) for role, model in models for task in "123"]
    access = Access({"api": Unlimited()})
    if failing:
        with pytest.raises(EvaluationError, match="measuring api on 1"):
            measured(local_store, wanted, access)
    else:
        assert set(measured(local_store, wanted, access)) == {(model, task) for _, model in models for task in "123"}
    at_once = [line for line in cluster.log if "api" not in line]
    assert [line[0] for line in at_once] == ["+"] * 6 + ["-"] * 6
    in_turn = [line.replace("evaluate api on ", "") for line in cluster.log if "api" in line]
    assert in_turn == ["+1", "-1", "+2", "-2", "+3", "-3"]
