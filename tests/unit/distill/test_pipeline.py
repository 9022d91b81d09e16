"""How the driver frames a training: what runs beside it, and what it makes of an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train import TrainingFailedError

from mtd_ray.distill import pipeline
from mtd_ray.distill.board import Board
from mtd_ray.distill.checkpoints.notices import NoticedTorch, node_drains
from mtd_ray.distill.loop import TrainingJob
from mtd_ray.errors import StorageError, TrainingError
from mtd_ray.objects import ObjectStore
from tests.tiny_run import tiny_recipe


class LocalBoard:
    """A board in this process, called like an actor."""

    def __init__(self) -> None:
        self.board = Board()

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self.board, name))


class Cluster:
    """What the pipeline needs of a cluster."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.board = LocalBoard()
        self.events: list[Any] = []
        self.work: Callable[[], None] = lambda: None
        monkeypatch.setattr(pipeline, "_board", lambda: self.board)
        monkeypatch.setattr(pipeline, "_trainer", lambda *_: SimpleNamespace(fit=self.fit))
        monkeypatch.setattr(pipeline, "checkpoints_scored", self.scored)
        monkeypatch.setattr(pipeline.ray, "get", lambda answer: answer)
        monkeypatch.setattr(pipeline.ray, "kill", lambda board: self.events.append("board is gone"))

    @contextmanager
    def scored(self, job: TrainingJob, told: Callable[[float], None]) -> Iterator[None]:
        told(0.5)
        self.events.append("scoring begins")
        yield
        self.events.append("scoring ends")

    def fit(self) -> None:
        self.events.append("training")
        self.work()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


@pytest.fixture
def job(local_store: ObjectStore) -> TrainingJob:
    manifest: Any = None
    return TrainingJob(local_store, tiny_recipe(local_store, "unused"), manifest)


def failing(cluster: Cluster, error: Exception, *told: tuple[Any, bool]) -> None:
    def work() -> None:
        for one, over in told:
            cluster.board.board.fail(one, over=over)
        raise error

    cluster.work = work


def test_checkpoints_are_scored_for_as_long_as_training_lasts(cluster: Cluster, job: TrainingJob) -> None:
    pipeline._run(job)
    assert cluster.events == ["scoring begins", "training", "scoring ends", "board is gone"]


def test_a_run_ends_with_the_error_that_ended_it(cluster: Cluster, job: TrainingJob) -> None:
    told = (TrainingError("the loss is nan"), True), (StorageError("a worker has gone"), False)
    failing(cluster, TrainingFailedError(), *told)
    with pytest.raises(TrainingError, match="the loss is nan"):
        pipeline._run(job)
    assert cluster.events[-1] == "board is gone"


def test_without_an_error_that_was_told_the_last_failure_is(cluster: Cluster, job: TrainingJob) -> None:
    failing(cluster, TrainingFailedError("\nworker 1 died\n"))
    with pytest.raises(TrainingError, match=r"more often than train\.max_failures \(3\) allows; the last failure: worker 1 died"):
        pipeline._run(job)


def test_the_board_does_not_outlive_an_unexpected_end(cluster: Cluster, job: TrainingJob) -> None:
    failing(cluster, RuntimeError("something new"))
    with pytest.raises(RuntimeError, match="something new"):
        pipeline._run(job)
    assert cluster.events[-1] == "board is gone"


def test_workers_listen_for_both_notices(job: TrainingJob, monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    watched: list[Any] = []
    monkeypatch.setattr(pipeline, "train", lambda *_, watches: watched.extend(watches))
    monkeypatch.setattr(pipeline.torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(pipeline.ray.train, "get_context", lambda: SimpleNamespace(get_world_rank=lambda: 0))
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    cluster.board.board.fail(StorageError("of an earlier attempt"), over=False)
    pipeline._work({"job": job, "board": cluster.board})
    assert watched == [node_drains]
    assert cluster.board.board.ending() == (None, False)


def test_the_trainer_is_set_up_with_notices(job: TrainingJob, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(pipeline, "TorchTrainer", lambda *_, **options: given.update(options))
    pipeline._trainer(job, board=None, folder="/unused")
    assert isinstance(given["torch_config"], NoticedTorch)
    assert given["torch_config"].backend == "gloo"
