"""Metrics of a run, each step once, however often it was interrupted."""

from __future__ import annotations

import json

import pytest
import torch

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.distill.checkpoint import Position
from mtd_ray.distill.dataset import Batch
from mtd_ray.distill.meter import Meter
from mtd_ray.distill.metrics import MetricsLog, StepMetrics
from mtd_ray.distill.step import StepResult
from mtd_ray.objects import ObjectStore
from tests.tiny_run import tiny_recipe


def metrics(stage: str, step: int, loss: float = 1.0) -> StepMetrics:
    return StepMetrics(stage, step, 10, loss, {"16/cosine": 0.5}, 1e-3, 2.0, 30.0, 900.0, 0.1, 0.05, 3.0)


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
    assert len(stored(local_store, recipe)) == 2


def test_the_meter_counts_between_two_readings() -> None:
    now = 0.0

    def batches() -> object:
        nonlocal now
        for number in range(2):
            now += 0.5
            yield Batch([str(number)] * 8, [], [], [], [])

    meter = Meter("head", 10, clock=lambda: now)
    result = StepResult(2.5, {"16/cosine": 0.5}, 1.0, rows=8, tokens=90, padded_tokens=100)
    for _ in meter.timed(batches()):  # type: ignore[arg-type]
        now += 1.5
        meter.add(result)
    got = meter.read(2, result, 1e-3, torch.device("cpu"))
    assert (got.samples_per_s, got.tokens_per_s) == (4.0, 45.0)
    assert got.padding_share == pytest.approx(0.1)
    assert (got.wait_share, got.seconds_left) == (0.25, 16.0)
