"""What workers agree on, and what worker 0 notes, beside the steps themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mtd_ray.corpus import Manifest
from mtd_ray.distill import loop
from mtd_ray.distill.checkpoints.checkpoint import Position
from mtd_ray.distill.checkpoints.preemption import Preemption
from mtd_ray.distill.loop import TrainingJob, _first_workers, _records, _Run
from mtd_ray.errors import StorageError, TrainingError
from mtd_ray.objects import ObjectStore
from tests.tiny_run import tiny_recipe

pytestmark = pytest.mark.usefixtures("single_process_group")


class HeardLog:
    """A log that only remembers."""

    def __init__(self, close: Callable[[], None] = lambda: None) -> None:
        self.scores: list[tuple[str, int, dict[str, float]]] = []
        self.abandoned = False
        self.close = close

    def evaluated(self, stage: str, step: int, scores: dict[str, float]) -> None:
        self.scores.append((stage, step, scores))

    def abandon(self) -> None:
        self.abandoned = True


@pytest.fixture
def job(local_store: ObjectStore) -> TrainingJob:
    manifest: Any = Manifest
    return TrainingJob(local_store, tiny_recipe(local_store, "unused"), manifest)


def test_what_checkpoints_scored_is_noted_once(job: TrainingJob) -> None:
    log: Any = HeardLog()
    run = _Run(job, loop.Checkpoints(job.store, "run"), Preemption(), log, lambda _: None, began_at=0.0)
    run.writer.scores = {Position(0, 4): {"mean": 0.5, "scores": {"docs": 0.5}}}
    run._note_scores()
    run.writer.scores = run.writer.scores | {Position(1, 2): {"mean": 0.6, "scores": {"docs": 0.6}}}
    run._note_scores()
    assert log.scores == [("head", 4, {"docs": 0.5}), ("all", 2, {"docs": 0.6})]


def test_an_error_is_not_hidden_by_a_store_that_fails_after_it(job: TrainingJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise StorageError("the disk is full")

    log = HeardLog(close=refuse)
    monkeypatch.setattr(loop, "MetricsLog", lambda *_: log)
    with pytest.raises(TrainingError, match="the loss is nan"), _records(job, Position()):
        raise TrainingError("the loss is nan")
    assert log.abandoned
    with pytest.raises(StorageError, match="the disk is full"), _records(job, Position()):
        pass


def test_every_worker_starts_where_worker_0_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_worker_0(outcome: list[Any], src: int) -> None:
        outcome[:] = sent

    def not_asked() -> str:
        raise AssertionError("another worker looks for itself")

    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    monkeypatch.setattr("torch.distributed.broadcast_object_list", of_worker_0)
    sent: list[Any] = ["checkpoint", None]
    assert _first_workers(not_asked) == "checkpoint"
    sent = [None, TrainingError("other texts")]
    with pytest.raises(TrainingError, match="other texts"):
        _first_workers(not_asked)


def test_worker_0_tells_its_error_too() -> None:
    def refuse() -> str:
        raise TrainingError("other texts")

    assert _first_workers(lambda: "checkpoint") == "checkpoint"
    with pytest.raises(TrainingError, match="other texts"):
        _first_workers(refuse)
