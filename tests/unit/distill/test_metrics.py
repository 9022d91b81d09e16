"""Metrics of a run, each step once, however often it was interrupted."""

from __future__ import annotations

import json
import logging
import threading

import pytest

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.distill.checkpoints.checkpoint import Position
from mtd_ray.distill.numbers.metrics import MetricsLog, StepMetrics
from mtd_ray.errors import StorageError
from mtd_ray.objects import ObjectStore
from tests.tiny_run import tiny_recipe


def metrics(stage: str, step: int, loss: float = 1.0) -> StepMetrics:
    return StepMetrics(stage, step, 10, loss, {"16/cosine": 0.5}, 1e-3, 2.0, 30.0, 900.0, 0.1, 0.05, 3.0, 0.0, None, 1.5, 0.0)


def stored(store: ObjectStore, recipe: Recipe) -> list[tuple[str, int, float]]:
    lines = store.get(layout.run_metrics(recipe.run_name)).decode().splitlines()
    return [(entry["stage"], entry["step"], entry["loss"]) for entry in map(json.loads, lines)]


@pytest.fixture
def recipe(local_store: ObjectStore) -> Recipe:
    return tiny_recipe(local_store, "unused")


def test_lines_and_tensorboard_events_reach_the_store(local_store: ObjectStore, recipe: Recipe) -> None:
    log = MetricsLog(local_store, recipe, Position())
    log.log(metrics("head", 2))
    log.close()
    line = json.loads(local_store.get(layout.run_metrics(recipe.run_name)))
    assert line["parts"] == {"16/cosine": 0.5}
    events = [info for info in local_store.list(layout.run_tensorboard(recipe.run_name)) if "tfevents" in info.key]
    assert len(events) == 1
    assert events[0].size > 100


@pytest.mark.parametrize(
    ("start", "kept"),
    [
        (Position(), []),
        (Position(0, 4), [("head", 2), ("head", 4)]),
        (Position(1, 0), [("head", 2), ("head", 4), ("head", 6)]),
        (Position(1, 4), [("head", 2), ("head", 4), ("head", 6), ("all", 2), ("all", 4)]),
    ],
)
def test_steps_that_are_done_again_replace_their_lines(
    local_store: ObjectStore, recipe: Recipe, start: Position, kept: list[tuple[str, int]]
) -> None:
    log = MetricsLog(local_store, recipe, Position())
    for stage, step in [("head", 2), ("head", 4), ("head", 6), ("all", 2), ("all", 4), ("all", 6)]:
        log.log(metrics(stage, step))
    log.close()
    again = MetricsLog(local_store, recipe, start)
    again.log(metrics("all", 10, loss=0.5))
    again.close()
    assert stored(local_store, recipe) == [(stage, step, 1.0) for stage, step in kept] + [("all", 10, 0.5)]


def test_uploads_happen_now_and_then_while_training_goes_on(local_store: ObjectStore, recipe: Recipe) -> None:
    now = 0.0
    log = MetricsLog(local_store, recipe, Position(), clock=lambda: now)
    log.log(metrics("head", 2))
    assert not local_store.exists(layout.run_metrics(recipe.run_name))
    now = 31.0
    log.log(metrics("head", 4))
    for upload in [thread for thread in threading.enumerate() if thread.name == "metrics"]:
        upload.join()
    assert len(stored(local_store, recipe)) == 2


def test_scores_of_a_checkpoint_stand_beside_the_steps_and_outlive_a_crash(local_store: ObjectStore, recipe: Recipe) -> None:
    log = MetricsLog(local_store, recipe, Position())
    for step in (2, 4, 6):
        log.log(metrics("head", step))
    log.evaluated("head", 4, {"docs": 0.5})
    log.evaluated("head", 4, {"docs": 0.6})
    log.close()
    MetricsLog(local_store, recipe, Position(0, 4)).close()
    lines = local_store.get(layout.run_metrics(recipe.run_name)).decode().splitlines()
    assert [(entry["step"], entry.get("scores")) for entry in map(json.loads, lines)] == [(2, None), (4, None), (4, {"docs": 0.6})]


class FullStore(ObjectStore):
    """Takes nothing."""

    def put(self, key: str, data: bytes) -> None:
        raise StorageError("the disk is full")


def test_a_store_that_takes_nothing_is_told_at_the_end_and_never_in_place_of_an_error(
    local_store: ObjectStore, recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    full = FullStore(local_store.url)
    log = MetricsLog(full, recipe, Position())
    log.log(metrics("head", 2))
    with caplog.at_level(logging.WARNING):
        log.abandon()
    assert any("the disk is full" in message for message in caplog.messages)
    log = MetricsLog(full, recipe, Position())
    log.log(metrics("head", 2))
    with pytest.raises(StorageError, match="the disk is full"):
        log.close()


def test_a_curve_for_every_part_head_and_teacher() -> None:
    curves = metrics("head", 2).scalars()
    assert curves["loss/16/cosine"] == 0.5
    assert curves["train/padding_share"] == 0.1
    assert "train/share_of_peak" not in curves, "unknown on this device"
    assert set(curves) == {"loss/total", "loss/16/cosine"} | {
        f"train/{name}" for name in (
            "learning_rate", "gradient_norm", "samples_per_s", "tokens_per_s", "padding_share", "wait_share", "missing_share",
            "memory_gb", "checkpoint_s",
        )
    }  # fmt: skip
