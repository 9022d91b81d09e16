"""Checkpoints are written behind training's back, whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from mtd_ray import layout
from mtd_ray.distill.checkpoints.checkpoint import Checkpoints, Position
from mtd_ray.distill.checkpoints.writer import CheckpointWriter
from mtd_ray.errors import StorageError
from mtd_ray.objects import ObjectStore
from tests.tiny_checkpoint import TinyEngine, begin, committed

pytestmark = pytest.mark.usefixtures("single_process_group")


class Panic(BaseException):
    """As the Rust libraries raise it."""


class HeldStore(ObjectStore):
    """A store that takes no file before it is told to, and none at all, or deletes none, when it is broken."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.opened = threading.Event()
        self.broken: BaseException | None = None
        self.deletes = True

    def upload(self, path: Path, key: str) -> None:
        assert self.opened.wait(10)
        if self.broken:
            raise self.broken
        super().upload(path, key)

    def delete(self, key: str) -> None:
        if not self.deletes:
            raise StorageError("access was refused")
        super().delete(key)


@pytest.fixture
def held(tmp_path: Path) -> HeldStore:
    return HeldStore(str(tmp_path))


def test_training_goes_on_while_the_store_is_slow(held: HeldStore) -> None:
    writer = CheckpointWriter(held, "run", keep=2)
    first: list[bool] = []
    writer.save(
        Position(0, 4),
        TinyEngine(4),
        seconds=1.0,
        corpus="these texts",
        resumable=True,
        first=lambda: first.append(Checkpoints(held, "run").newest() is None),
    )
    assert not writer.failed
    assert Checkpoints(held, "run").newest() is None
    held.opened.set()
    writer.finish()
    newest = Checkpoints(held, "run").newest()
    assert newest is not None
    assert newest.position == Position(0, 4)
    assert first == [True]


def test_a_store_that_takes_nothing_stops_training_at_its_next_look(held: HeldStore) -> None:
    writer = CheckpointWriter(held, "run", keep=2)
    held.broken = StorageError("the disk is full")
    held.opened.set()
    begin(writer, Position(0, 4))
    with pytest.raises(StorageError, match=r"worker 0 could not write its part of a checkpoint: the disk is full"):
        begin(writer, Position(0, 8))
    writer.close()
    assert Checkpoints(held, "run").newest() is None


def test_an_error_elsewhere_leaves_the_checkpoint_under_way_its_time(held: HeldStore) -> None:
    writer = CheckpointWriter(held, "run", keep=2)
    begin(writer, Position(0, 4))
    held.opened.set()
    writer.close()
    assert Checkpoints(held, "run").positions() == [Position(0, 4)]


def test_a_panic_while_writing_stops_training_and_does_not_leave_it_waiting(held: HeldStore) -> None:
    writer = CheckpointWriter(held, "run", keep=2)
    held.broken = Panic("in the client")
    held.opened.set()
    begin(writer, Position(0, 4))
    pending: Any = writer._pending
    assert isinstance(pending.uploaded.exception(10), Panic)
    assert writer.failed
    with pytest.raises(StorageError, match="worker 0 could not write its part of a checkpoint: Panic: in the client"):
        writer.finish()


def test_old_checkpoints_that_cannot_be_deleted_do_not_stop_training(held: HeldStore, caplog: pytest.LogCaptureFixture) -> None:
    held.deletes = False
    held.opened.set()
    for step in (4, 8):
        committed(held, Position(0, step), keep=1)
    assert Checkpoints(held, "run").positions() == [Position(0, 4), Position(0, 8)]
    assert [record.getMessage() for record in caplog.records] == [
        "old checkpoints of run were not all deleted; training goes on: access was refused"
    ]


@pytest.fixture
def _two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.get_world_size", lambda *_: 2)
    monkeypatch.setattr("torch.distributed.all_gather_object", lambda values, value: values.__setitem__(slice(None), [value] * 2))


def uploaded(writer: CheckpointWriter) -> str:
    """Begin a checkpoint; the folder of worker 0's files when they are there."""
    begin(writer, Position(0, 4))
    pending: Any = writer._pending
    pending.uploaded.result(10)
    return layout.checkpoint_attempt("run", 0, 4, pending.checkpoint.attempt)


OTHER = "optimizer-00001.safetensors"


@pytest.mark.usefixtures("_two_workers")
def test_a_commit_waits_for_the_files_of_every_worker(local_store: ObjectStore) -> None:
    writer = CheckpointWriter(local_store, "run", keep=2)
    folder = uploaded(writer)
    assert Checkpoints(local_store, "run").newest() is None
    local_store.put(f"{folder}/{OTHER}", b"")
    local_store.put(f"{folder}/rank-00001.json", f'{{"{OTHER}": "abc"}}'.encode())
    writer.finish()
    newest = Checkpoints(local_store, "run").newest()
    assert newest is not None
    assert newest.optimizer_files == ("optimizer-00000.safetensors", OTHER)


@pytest.mark.usefixtures("_two_workers")
def test_files_that_somebody_deleted_are_not_committed(local_store: ObjectStore) -> None:
    writer = CheckpointWriter(local_store, "run", keep=2)
    folder = uploaded(writer)
    local_store.delete(f"{folder}/weights.safetensors")
    local_store.put(f"{folder}/rank-00001.json", b"{}")
    with pytest.raises(StorageError, match=r"weights\.safetensors is gone from .* before the commit: see whether another job"):
        writer.finish()
    assert Checkpoints(local_store, "run").newest() is None


@pytest.mark.usefixtures("_two_workers")
def test_a_worker_whose_files_never_come_is_not_waited_for_without_end(
    local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtd_ray.distill.checkpoints.writer._PATIENCE_S", 0.0)
    writer = CheckpointWriter(local_store, "run", keep=2)
    uploaded(writer)
    pending: Any = writer._pending
    assert isinstance(pending.committed.exception(10), StorageError)
    with pytest.raises(StorageError, match=r"rank-00001\.json did not appear in 0 minutes"):
        writer.finish()


def test_the_end_of_a_part_has_no_optimizer(local_store: ObjectStore) -> None:
    committed(local_store, Position(0, 4), resumable=False)
    newest = Checkpoints(local_store, "run").newest()
    assert newest is not None
    assert (newest.optimizer_files, list(newest.files)) == ((), ["weights.safetensors"])


def test_a_checkpoint_that_is_there_is_not_exchanged_for_another(local_store: ObjectStore) -> None:
    committed(local_store, Position(0, 4))
    before = local_store.get(layout.checkpoint_commit("run", 0, 4))
    committed(local_store, Position(0, 4))
    assert local_store.get(layout.checkpoint_commit("run", 0, 4)) == before
