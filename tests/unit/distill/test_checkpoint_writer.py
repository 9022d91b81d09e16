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


class HeldStore(ObjectStore):
    """A store that takes no file before it is told to, and none at all when it is broken."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.opened = threading.Event()
        self.broken = False

    def upload(self, path: Path, key: str) -> None:
        assert self.opened.wait(10)
        if self.broken:
            raise StorageError("the disk is full")
        super().upload(path, key)


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
    held.broken = True
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


def test_a_commit_waits_for_the_files_of_every_worker(local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.get_world_size", lambda *_: 2)
    monkeypatch.setattr("torch.distributed.all_gather_object", lambda values, value: values.__setitem__(slice(None), [value] * 2))
    writer = CheckpointWriter(local_store, "run", keep=2)
    begin(writer, Position(0, 4))
    pending: Any = writer._pending
    pending.uploaded.result(10)
    assert Checkpoints(local_store, "run").newest() is None
    local_store.put(layout.checkpoint_part("run", 0, 4, pending.checkpoint.attempt, 1), b'{"optimizer-00001.safetensors": "abc"}')
    writer.finish()
    newest = Checkpoints(local_store, "run").newest()
    assert newest is not None
    assert newest.optimizer_files == ("optimizer-00000.safetensors", "optimizer-00001.safetensors")


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
