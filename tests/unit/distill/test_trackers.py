"""Trackers, through small stand-ins with the real packages' signatures."""

from __future__ import annotations

import sys
import threading
import tomllib
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import pytest

from mtd_ray.config import Recipe, TrainConfig
from mtd_ray.distill.checkpoints.checkpoint import Position
from mtd_ray.distill.numbers.metrics import MetricsLog, StepMetrics
from mtd_ray.distill.numbers.trackers import InBackground, Tracker, check_trackers, open_trackers
from mtd_ray.errors import RecipeError
from mtd_ray.objects import ObjectStore
from mtd_ray.run import run_recipe
from tests.tiny_run import tiny_recipe


def installed(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> None:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, loader=None)
    for key, value in contents.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)


def drawn(recipe: Recipe, points: Mapping[int, Mapping[str, float]]) -> None:
    (tracker,) = open_trackers(recipe)
    for step, scalars in points.items():
        tracker.log(scalars, step)
    tracker.close()


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


def test_a_resumed_run_goes_on_in_the_same_wandb_run(local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(local_store, "unused", train={"trackers": ["wandb"]})
    wandb = FakeWandb()
    installed(monkeypatch, "wandb", init=wandb.init)
    check_trackers(recipe)
    drawn(recipe, {2: {"loss/total": 1.0}, 4: {"loss/total": 0.5}})
    drawn(recipe, {4: {"loss/total": 0.5}})
    assert list(wandb.runs) == [recipe.run_name]
    run = wandb.runs[recipe.run_name]
    assert (run["project"], run["name"], run["finished"]) == ("tiny", recipe.run_name, 2)
    assert [point["step"] for point in run["points"]] == [2, 4, 4]
    assert run["axes"] == {"step": None, "*": "step"}


def test_the_recipe_is_sent_without_its_secrets(local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    recipe = tiny_recipe(local_store, "unused", train={"trackers": ["wandb"]})
    wandb = FakeWandb()
    installed(monkeypatch, "wandb", init=wandb.init)
    drawn(recipe, {})
    config = wandb.runs[recipe.run_name]["config"]
    assert config["stages"][0]["heads"]["16"]["ranking"] == 20.0
    assert config["teachers"]["alpha"]["api_key"] == "env:OPENAI_API_KEY"
    assert "sk-secret" not in repr(config)


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


def test_a_resumed_run_is_found_by_its_tag_in_mlflow(local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(local_store, "unused", train={"trackers": ["mlflow"]})
    monkeypatch.setattr(FakeMlflowClient, "experiments", {})
    monkeypatch.setattr(FakeMlflowClient, "runs", {})
    installed(monkeypatch, "mlflow", MlflowClient=FakeMlflowClient)
    installed(
        monkeypatch, "mlflow.entities",
        Metric=lambda key, value, timestamp, step: (key, value, step), Param=lambda key, value: (key, value),
    )  # fmt: skip
    drawn(recipe, {2: {"loss/total": 1.0}})
    drawn(recipe, {4: {"loss/total": 0.5, "train/memory_gb": 1.5}})
    (run,) = FakeMlflowClient.runs.values()
    assert (run.experiment, run.name, run.status) == ("7", recipe.run_name, "FINISHED")
    assert run.metrics == [("loss/total", 1.0, 2), ("loss/total", 0.5, 4), ("train/memory_gb", 1.5, 4)]
    assert run.params["stages.1.heads.8.ranking"] == "20.0"
    assert len(run.params) > 100


def test_a_resumed_run_goes_on_in_the_same_trackio_run(local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(local_store, "unused", train={"trackers": ["trackio"]})
    seen: list[Any] = []

    def init(project: str, name: str | None = None, *, config: dict[str, Any], resume: str, embed: bool) -> SimpleNamespace:
        seen.append((project, name, resume, embed, config["name"]))
        return SimpleNamespace(
            log=lambda metrics, step=None: seen.append((metrics, step)),
            finish=lambda: seen.append("finished"),
        )

    installed(monkeypatch, "trackio", init=init)
    drawn(recipe, {2: {"loss/total": 1.0}})
    assert seen == [("tiny", recipe.run_name, "allow", False, "tiny"), ({"loss/total": 1.0}, 2), "finished"]


def test_a_tracker_that_is_not_installed_is_told_before_anything_starts(local_store: ObjectStore) -> None:
    check_trackers(tiny_recipe(local_store, "unused"))
    with pytest.raises(RecipeError, match=r"train\.trackers: trackio is not installed; pip install 'mtd-ray\[trackio\]'"):
        check_trackers(tiny_recipe(local_store, "unused", train={"trackers": ["trackio"]}))


def test_a_run_that_lacks_a_tracker_spends_nothing(local_store: ObjectStore) -> None:
    with pytest.raises(RecipeError, match=r"train\.trackers: mlflow is not installed"):
        run_recipe(local_store, tiny_recipe(local_store, "unused", train={"trackers": ["mlflow"]}))
    assert list(local_store.list("")) == []


def test_each_tracker_has_an_extra_that_installs_it() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in get_args(get_args(TrainConfig.model_fields["trackers"].annotation)[0]):
        assert [required.startswith(name) for required in project["optional-dependencies"][name]] == [True]


class Failing:
    def __init__(self) -> None:
        self.asked: list[int] = []

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        self.asked.append(step)
        if step == 4:
            raise ConnectionError("no route to host")

    def close(self) -> None:
        raise AssertionError("a dropped tracker is not asked again")


def test_a_tracker_that_fails_is_dropped_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing()
    tracker = InBackground("wandb", lambda: failing)
    for step in (2, 4, 6, 8):
        tracker.log({"loss/total": 1.0}, step)
    tracker.close()
    tracker.log({"loss/total": 1.0}, 10)
    assert failing.asked == [2, 4]
    (record,) = caplog.records
    assert "wandb failed and is dropped; training goes on" in record.getMessage()
    assert "no route to host" in record.getMessage()


def test_a_tracker_that_cannot_be_opened_is_dropped_too(caplog: pytest.LogCaptureFixture) -> None:
    def opened() -> Tracker:
        raise RuntimeError("not logged in")

    tracker = InBackground("wandb", opened)
    tracker.log({"loss/total": 1.0}, 2)
    tracker.close()
    assert ["not logged in" in record.getMessage() for record in caplog.records] == [True]


def test_a_tracker_that_hangs_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    answered = threading.Event()

    class Hanging(Failing):
        def log(self, scalars: Mapping[str, float], step: int) -> None:
            answered.wait()

        def close(self) -> None:
            pass

    tracker = InBackground("mlflow", Hanging, patience_s=0.01)
    tracker.log({"loss/total": 1.0}, 2)
    tracker.close()
    answered.set()
    assert "tracker mlflow has not taken the last numbers in 0.01 s" in caplog.records[0].getMessage()


def test_what_is_logged_and_what_checkpoints_score_reaches_the_trackers(
    local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(local_store, "unused", train={"trackers": ["wandb"]})
    wandb = FakeWandb()
    installed(monkeypatch, "wandb", init=wandb.init)
    log = MetricsLog(local_store, recipe, Position())
    log.log(StepMetrics("all", 2, 10, 1.25, {"16/cosine": 0.5}, 1e-3, 2.0, 30.0, 900.0, 0.1, 0.02, 75.0, 0.0, None, 1.5, 0.0))
    log.evaluated("head", 6, {"docs": 0.7})
    log.close()
    first, second = wandb.runs[recipe.run_name]["points"]
    assert (first["step"], first["loss/16/cosine"], first["train/samples_per_s"]) == (8, 0.5, 30.0)
    assert second == {"evaluation/docs": 0.7, "step": 6}
