"""What each tracker is given, and what a resumed run finds there, through stand-ins of the real packages."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from mtd_ray.config import Recipe, TrainConfig
from mtd_ray.distill.checkpoints.checkpoint import Position
from mtd_ray.distill.numbers.metrics import MetricsLog, StepMetrics
from mtd_ray.distill.numbers.trackers import check_trackers, open_trackers
from mtd_ray.errors import RecipeError
from mtd_ray.objects import ObjectStore
from mtd_ray.run import run_recipe
from tests.tiny_run import tiny_recipe
from tests.unit.distill.fake_trackers import FakeMlflowClient, FakeWandb, installed


def drawn(recipe: Recipe, points: Mapping[int, Mapping[str, float]]) -> None:
    (tracker,) = open_trackers(recipe)
    for step, scalars in points.items():
        tracker.log(scalars, step)
    tracker.close()


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
