"""Small stand-ins with the signatures of the real trackers' packages."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


def installed(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> None:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, loader=None)
    for key, value in contents.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)


class FakeWandb:
    """Keeps runs by id, as the server does."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}

    def init(
        self,
        *,
        project: str,
        id: str,  # noqa: A002
        name: str,
        resume: str,
        config: dict[str, Any],
        allow_val_change: bool,
    ) -> SimpleNamespace:
        assert resume == "allow"
        run = self.runs.setdefault(id, {"project": project, "name": name, "points": [], "axes": {}, "finished": 0})
        run["config"] = config

        def log(data: dict[str, Any], step: int | None = None) -> None:
            assert step is None, "its own counter refuses steps that are done again"
            run["points"].append(data)

        def define_metric(name: str, step_metric: str | None = None) -> None:
            run["axes"][name] = step_metric

        def finish() -> None:
            run["finished"] += 1

        return SimpleNamespace(log=log, define_metric=define_metric, finish=finish)


class FakeMlflowClient:
    """The server's state is the class's, as every client sees the same."""

    experiments: dict[str, str] = {}  # noqa: RUF012
    runs: dict[str, SimpleNamespace] = {}  # noqa: RUF012

    def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
        return SimpleNamespace(experiment_id=self.experiments[name]) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        assert name not in self.experiments
        return self.experiments.setdefault(name, "7")

    def search_runs(self, experiment_ids: list[str], filter_string: str = "", max_results: int = 1000) -> list[SimpleNamespace]:
        key, value = filter_string.removeprefix("tags.").split(" = ")
        return [run for run in self.runs.values() if run.experiment in experiment_ids and run.tags.get(key) == value.strip("'")]

    def create_run(
        self, experiment_id: str, start_time: int | None = None, tags: dict[str, str] | None = None, run_name: str | None = None
    ) -> SimpleNamespace:
        run = SimpleNamespace(
            info=SimpleNamespace(run_id=f"run-{len(self.runs)}"), experiment=experiment_id, tags=tags, name=run_name,
            status="RUNNING", metrics=[], params={},
        )  # fmt: skip
        self.runs[run.info.run_id] = run
        return run

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        assert len(params) <= 100
        run = self.runs[run_id]
        assert run.status == "RUNNING"
        run.metrics += metrics
        run.params |= params

    def update_run(self, run_id: str, status: str | None = None, name: str | None = None) -> None:
        self.runs[run_id].status = status

    def set_terminated(self, run_id: str, status: str | None = None, end_time: int | None = None) -> None:
        self.runs[run_id].status = "FINISHED"
