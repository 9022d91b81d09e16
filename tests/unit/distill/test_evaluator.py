"""Scoring beside training, without Ray: what goes wrong with it, and what is said at its end."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.distill.checkpoints.checkpoint import Position
from mtd_ray.distill.checkpoints.evaluator import _Evaluator
from mtd_ray.distill.loop import TrainingJob
from mtd_ray.objects import ObjectStore
from tests.tiny_checkpoint import committed, scored
from tests.tiny_run import tiny_recipe

pytestmark = pytest.mark.usefixtures("single_process_group")


class Panic(BaseException):
    """As the Rust libraries raise it."""


@pytest.fixture
def evaluator(local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> _Evaluator:
    """Of the run ``run``; its tasks never end."""
    monkeypatch.setattr(Recipe, "run_name", "run")
    job = TrainingJob(local_store, tiny_recipe(local_store, "unused"), Manifest("corpus", (), {}, {}))
    evaluator = _Evaluator(job, lambda _: None)
    monkeypatch.setattr(evaluator, "_start", lambda position: position)
    monkeypatch.setattr("ray.wait", lambda *_, **__: ([], []))
    return evaluator


def test_what_is_going_to_be_scored_is_spared_at_once(local_store: ObjectStore, evaluator: _Evaluator) -> None:
    for step in (2, 4):
        committed(local_store, Position(0, step))
    evaluator.look()
    assert local_store.exists(layout.checkpoint_scoring("run", 0, 4))
    committed(local_store, Position(0, 6), keep=1)
    assert {info.key.split("/")[3] for info in local_store.list("runs")} == {"00-00000004", "00-00000006"}


@pytest.mark.parametrize("error", [ValueError("damaged"), Panic("damaged")])
def test_what_goes_wrong_is_logged_once_and_scoring_goes_on_after_it(
    local_store: ObjectStore,
    evaluator: _Evaluator,
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    committed(local_store, Position(0, 4))

    def fails(*_: Any) -> Any:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(local_store, "list", fails)
        evaluator.look()
        evaluator.look()
        evaluator.tell_best()
    assert [record.getMessage() for record in caplog.records] == ["checkpoints cannot be scored just now: damaged"]
    evaluator.look()
    assert local_store.exists(layout.checkpoint_scoring("run", 0, 4))


def test_at_the_end_the_best_checkpoint_is_named(
    local_store: ObjectStore, evaluator: _Evaluator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    evaluator.tell_best()
    assert not caplog.records
    for step, mean in ((2, 0.7), (4, 0.8125), (6, 0.6)):
        committed(local_store, Position(0, step))
        scored(local_store, Position(0, step), mean)
    evaluator.tell_best()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "best score: 81.25" in line
    assert "step 4 (runs/run/checkpoints/00-00000004)" in line
