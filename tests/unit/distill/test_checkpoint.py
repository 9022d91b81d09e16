"""A checkpoint is only loaded when it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mtd_ray import layout
from mtd_ray.distill.checkpoints.checkpoint import Checkpoint, Checkpoints, Position
from mtd_ray.errors import TrainingError
from mtd_ray.objects import ObjectStore
from tests.tiny_checkpoint import committed
from tests.tiny_run import tiny_recipe

pytestmark = pytest.mark.usefixtures("single_process_group")


@pytest.fixture
def checkpoints(local_store: ObjectStore) -> Checkpoints:
    return Checkpoints(local_store, "run")


def read_all(checkpoints: Checkpoints, checkpoint: Checkpoint) -> None:
    checkpoints.load_student(checkpoint, nn.Linear(2, 1))  # type: ignore[arg-type]
    assert list(checkpoints.optimizer_state(checkpoint, rank=0))


def test_there_is_none_before_the_first_commit(checkpoints: Checkpoints, local_store: ObjectStore) -> None:
    assert checkpoints.newest() is None
    committed(local_store, Position(0, 4))
    local_store.delete(layout.checkpoint_commit("run", 0, 4))
    assert checkpoints.newest() is None


def test_the_newest_is_loaded_with_its_weights_and_its_optimizer(checkpoints: Checkpoints, local_store: ObjectStore) -> None:
    for position in (Position(0, 4), Position(0, 12), Position(1, 2)):
        committed(local_store, position)
    newest = checkpoints.newest()
    assert newest is not None
    assert (newest.position, newest.seconds, newest.workers) == (Position(1, 2), 1.5, 1)
    student = nn.Linear(2, 1)
    checkpoints.load_student(newest, student)  # type: ignore[arg-type]
    assert torch.equal(student.weight, torch.full((1, 2), 2.0))
    read_all(checkpoints, newest)


def test_a_worker_reads_its_own_part_of_the_optimizer_first(checkpoints: Checkpoints, local_store: ObjectStore) -> None:
    names = [f"optimizer-{rank:05d}.safetensors" for rank in range(3)]
    prefix = layout.checkpoint_attempt("run", 0, 1, "a")
    for name in names:
        local_store.put(f"{prefix}/{name}", b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    checkpoint = Checkpoint(0, 1, "a", dict.fromkeys(names, empty), workers=3, seconds=1.0, corpus="these texts")
    assert [path.name for path in checkpoints.optimizer_state(checkpoint, rank=1)] == [names[1], names[0], names[2]]


def test_one_of_other_texts_is_refused(checkpoints: Checkpoints, local_store: ObjectStore) -> None:
    committed(local_store, Position(0, 4))
    assert checkpoints.newest(corpus="these texts") == checkpoints.newest()
    with pytest.raises(TrainingError, match=r"run was trained on other texts .* delete its checkpoints \(.*runs/run/checkpoints\)"):
        checkpoints.newest(corpus="those texts")


@pytest.mark.parametrize("damaged", ["weights.safetensors", "optimizer-00000.safetensors"])
def test_a_damaged_file_is_refused_before_it_is_read(checkpoints: Checkpoints, local_store: ObjectStore, damaged: str) -> None:
    committed(local_store, Position(0, 4))
    newest = checkpoints.newest()
    assert newest is not None
    key = f"{layout.checkpoint_attempt('run', 0, 4, newest.attempt)}/{damaged}"
    local_store.put(key, b"\x00" + local_store.get(key)[1:])
    with pytest.raises(TrainingError, match=rf"{damaged} is damaged"):
        read_all(checkpoints, newest)
    local_store.delete(key)
    with pytest.raises(TrainingError, match=damaged):
        read_all(checkpoints, newest)


def test_a_damaged_commit_is_named(checkpoints: Checkpoints, local_store: ObjectStore) -> None:
    committed(local_store, Position(0, 4))
    local_store.put(layout.checkpoint_commit("run", 0, 4), b"{}")
    with pytest.raises(TrainingError, match=r"00-00000004/commit\.json is damaged"):
        checkpoints.newest()


def test_the_end_of_a_stage_is_the_beginning_of_the_next(tmp_path: Path) -> None:
    recipe = tiny_recipe(ObjectStore(str(tmp_path)), "unused")
    assert Position(0, 5).settled(recipe) == Position(0, 5)
    assert Position(0, 6).settled(recipe) == Position(1, 0)
    assert Position(1, 10).settled(recipe) == Position(2, 0)
    assert Position(2, 0).settled(recipe) == Position(2, 0)
