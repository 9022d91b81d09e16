"""A checkpoint exists when it is committed, and is only loaded when it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mtd_ray import layout
from mtd_ray.config import TrainConfig
from mtd_ray.distill.checkpoint import Checkpoints, Position
from mtd_ray.errors import TrainingError
from mtd_ray.objects import ObjectStore
from tests.tiny_run import tiny_recipe

pytestmark = pytest.mark.usefixtures("single_process_group")


class FakeEngine:
    """Writes and reads files like DeepSpeed's."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.loaded: str | None = None

    def weights(self) -> dict[str, torch.Tensor]:
        return {"weight": torch.full((1, 2), self.value), "bias": torch.zeros(1)}

    def save(self, folder: Path) -> None:
        (folder / "state").mkdir(parents=True)
        (folder / "state" / "optimizer.pt").write_text(str(self.value))

    def load(self, folder: Path) -> None:
        self.loaded = (folder / "optimizer.pt").read_text()


@pytest.fixture
def checkpoints(local_store: ObjectStore) -> Checkpoints:
    return Checkpoints(local_store, "run")


def save(checkpoints: Checkpoints, stage: int, step: int, *, resumable: bool = True) -> None:
    engine: Any = FakeEngine(step)
    checkpoints.save(Position(stage, step), engine, TrainConfig(), 1.5, corpus="these texts", resumable=resumable)


def test_there_is_none_before_the_first_commit(checkpoints: Checkpoints, local_store: ObjectStore) -> None:
    assert checkpoints.newest() is None
    save(checkpoints, 0, 4)
    local_store.delete(f"{layout.run_checkpoint('run', 0, 4)}/commit.json")
    assert checkpoints.newest() is None


def test_the_newest_is_loaded_with_its_weights_and_its_optimizer(checkpoints: Checkpoints) -> None:
    for stage, step in ((0, 4), (0, 12), (1, 2)):
        save(checkpoints, stage, step)
    newest = checkpoints.newest()
    assert newest is not None
    assert (newest.position, newest.seconds) == (Position(1, 2), 1.5)
    student, engine = nn.Linear(2, 1), FakeEngine(0)
    checkpoints.load_student(newest, student)  # type: ignore[arg-type]
    checkpoints.load_engine(newest, engine)  # type: ignore[arg-type]
    assert student.weight.tolist() == [[2.0, 2.0]]
    assert engine.loaded == "2"


def test_one_of_other_texts_is_refused(checkpoints: Checkpoints) -> None:
    save(checkpoints, 0, 4)
    assert checkpoints.newest(corpus="these texts") == checkpoints.newest()
    with pytest.raises(TrainingError, match=r"run was trained on other texts .* delete its checkpoints \(.*runs/run/checkpoints\)"):
        checkpoints.newest(corpus="those texts")


def test_only_the_last_two_are_kept(checkpoints: Checkpoints, local_store: ObjectStore) -> None:
    for step in (2, 4, 6, 8):
        save(checkpoints, 0, step)
    assert {info.key.split("/")[3] for info in local_store.list("runs")} == {"00-00000006", "00-00000008"}


@pytest.mark.parametrize("damaged", ["weights.safetensors", "optimizer.pt"])
def test_a_damaged_file_is_refused_before_it_is_read(checkpoints: Checkpoints, local_store: ObjectStore, damaged: str) -> None:
    save(checkpoints, 0, 4)
    key = next(info.key for info in local_store.list("runs") if info.key.endswith(damaged))
    local_store.put(key, b"\x00" + local_store.get(key)[1:])
    newest, engine = checkpoints.newest(), FakeEngine(0)
    assert newest is not None
    with pytest.raises(TrainingError, match=rf"{damaged} is damaged"):
        checkpoints.load_student(newest, nn.Linear(2, 1))  # type: ignore[arg-type]
        checkpoints.load_engine(newest, engine)  # type: ignore[arg-type]
    assert engine.loaded is None


def test_a_missing_file_is_named(checkpoints: Checkpoints, local_store: ObjectStore) -> None:
    save(checkpoints, 0, 4)
    local_store.delete(next(info.key for info in local_store.list("runs") if info.key.endswith(".safetensors")))
    newest = checkpoints.newest()
    assert newest is not None
    with pytest.raises(TrainingError, match=r"weights\.safetensors"):
        checkpoints.load_student(newest, nn.Linear(2, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("resumable", "workers", "changes", "continues"),
    [
        (True, 1, {}, True),
        (True, 2, {}, False),
        (True, 1, {"zero_stage": 3}, False),
        (True, 1, {"dtype": "bfloat16"}, False),
        (False, 1, {}, False),
    ],
)
def test_optimizer_state_is_only_used_where_it_fits(
    checkpoints: Checkpoints, resumable: bool, workers: int, changes: dict[str, object], continues: bool
) -> None:
    save(checkpoints, 0, 4, resumable=resumable)
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.continues(TrainConfig.model_validate(changes), workers) is continues


def test_the_end_of_a_stage_is_the_beginning_of_the_next(local_store: ObjectStore) -> None:
    recipe = tiny_recipe(local_store, "unused")
    assert Position(0, 5).settled(recipe) == Position(0, 5)
    assert Position(0, 6).settled(recipe) == Position(1, 0)
    assert Position(1, 10).settled(recipe) == Position(2, 0)
    assert Position(2, 0).settled(recipe) == Position(2, 0)
