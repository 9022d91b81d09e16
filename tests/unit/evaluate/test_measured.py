"""Measurements on the cluster, which is stood in for: what fails, what goes on, and what is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from mtd_ray.errors import CorpusError, EvaluationError, MtdError
from mtd_ray.evaluate import measured as module
from mtd_ray.evaluate.kept_scores import KeptScore
from mtd_ray.evaluate.measured import measured
from mtd_ray.evaluate.models import Access
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.views import View
from mtd_ray.objects import ObjectStore
from mtd_ray.remote import Call


@dataclass(frozen=True)
class Model:
    label: str = "student"
    name: str = "student"
    role: str = "student"
    cpus: float = 1
    gpus: float = 2


@dataclass(frozen=True)
class Bases:
    broken: str = ""

    def fit(self, *_: Any) -> None:
        if self.broken == "fit":
            raise CorpusError("a shard is missing")

    def read(self, *_: Any) -> None:
        if self.broken == "read":
            raise EvaluationError("damaged")


@dataclass(frozen=True)
class Task:
    name: str


@dataclass(frozen=True)
class One:
    """A measurement of the forms float32 and pca."""

    task: Task
    of: Bases = field(default_factory=Bases)
    forms: tuple[str, ...] = ("float32", "pca")
    broken: bool = False
    model: Model = field(default_factory=Model)
    left: bool = True

    @property
    def name(self) -> str:
        return f"student on {self.task.name}"

    @property
    def bases(self) -> Bases | None:
        return self.of if "pca" in self.forms else None

    def without(self, form: str) -> One:
        return One(self.task, self.of, tuple(other for other in self.forms if other != form), self.broken)

    def run(self, store: ObjectStore, access: Access) -> KeptScore:
        if self.broken:
            raise MtdError(f"{self.task.name} broke")
        store.put(f"{self.task.name} {'+'.join(self.forms)}", b"")
        return KeptScore(self.task.name, scores={View(8): TaskScore(0.5)})


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls run when their answer is read, the last first."""
    calls: dict[int, Callable[[], Any]] = {}

    def start(call: Call, work: Callable[..., Any], *args: Any) -> int:
        calls[len(calls)] = lambda: work(*args)
        return len(calls) - 1

    def first_ended(running: Mapping[int, Call]) -> int:
        return max(running)

    monkeypatch.setattr(module, "start", start)
    monkeypatch.setattr(module, "first_ended", first_ended)
    monkeypatch.setattr(module, "answer", lambda reference, what, error: calls[reference]())
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": {"CPU": 8.0}}])


def run(store: ObjectStore, *wanted: Any) -> Any:
    return measured(store, wanted, Access())


def test_measurements_wait_for_their_bases(local_store: ObjectStore) -> None:
    found = run(local_store, One(Task("a")), One(Task("b")))
    assert set(found) == {("student", "a"), ("student", "b")}
    assert {info.key for info in local_store.list("")} == {"a float32+pca", "b float32+pca"}


@pytest.mark.parametrize(("broken", "tells"), [("fit", "a shard is missing"), ("read", "damaged")])
def test_without_bases_all_other_forms_are_measured(local_store: ObjectStore, broken: str, tells: str) -> None:
    with pytest.raises(EvaluationError, match=rf"^student: there are no bases for the form pca: {tells}; .*evaluate\.forms"):
        run(local_store, One(Task("a"), Bases(broken)), One(Task("b"), Bases(broken)))
    assert {info.key for info in local_store.list("")} == {"a float32", "b float32"}


def test_after_a_failure_the_others_go_on(local_store: ObjectStore) -> None:
    with pytest.raises(EvaluationError, match=r"2 failures in 3 measurements; what was measured is kept:\n  b broke\n  a broke"):
        run(local_store, *(One(Task(name), forms=("float32",), broken=name != "c") for name in "abc"))
    assert {info.key for info in local_store.list("")} == {"c float32"}


def test_a_model_that_waits_for_a_node_is_told(local_store: ObjectStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(local_store, One(Task("a")), One(Task("b")))
    (warning,) = caplog.messages
    assert warning.startswith("no node of the cluster has num_cpus: 1 and num_gpus: 2 at once, which is what student asks for")
