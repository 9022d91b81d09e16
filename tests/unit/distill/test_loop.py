"""The whole training loop under DeepSpeed in plain processes: neither workers, ZeRO nor crashes decide the student."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.spawn import ProcessException, ProcessRaisedException

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.distill.checkpoints.checkpoint import Checkpoints, Position
from mtd_ray.distill.loop import TrainingJob
from mtd_ray.distill.pipeline import final_student, initial_student
from mtd_ray.objects import ObjectStore
from tests.tiny_models import tiny_qwen2
from tests.tiny_run import ALL_LOSSES, store_run, tiny_recipe
from tests.training_processes import Signals, train_in_processes

pytestmark = pytest.mark.slow

Weights = dict[str, Tensor]

STAGES = [
    {"name": "head", "trainable": "heads", "heads": {16: ALL_LOSSES}, "lr": 1e-2, "steps": 6, "batch_size": 8},
    {
        "name": "unfreezing",
        "trainable": {"progressive": [{"last": 1}, "all"]},
        "heads": {16: ALL_LOSSES, 8: {"similarity": 200.0, "ranking": 20.0}},
        "lr": 1e-3,
        "steps": 10,
        # Several passes per worker, which share one lookup of the words.
        "batch_size": 64,
        "warmup_steps": 2,
    },
]
CRASH: Signals = {("head", 2): signal.SIGTERM, ("unfreezing", 8): signal.SIGKILL}
LOGGED = [("head", 2), ("head", 4), ("head", 6), *(("unfreezing", step) for step in (2, 4, 6, 8, 10))]


def job_in(folder: Path, model: str, *, stages: Any = STAGES, **train: Any) -> TrainingJob:
    store = ObjectStore(str(folder))
    settings = {"workers": 2, "zero_stage": 3, "checkpoint_every": 4, "log_every": 2, "keep_checkpoints": 9}
    recipe = tiny_recipe(store, model, stages=stages, train=settings | train)
    return TrainingJob(store, recipe, store_run(store, recipe))


def trained(job: TrainingJob, workers: int) -> Weights:
    train_in_processes(job, workers)
    return dict(final_student(job.store, job.recipe).state_dict())


def logged(store: ObjectStore, recipe: Recipe) -> list[tuple[str, int]]:
    lines = [json.loads(line) for line in store.get(layout.run_metrics(recipe.run_name)).splitlines()]
    return [(line["stage"], line["step"]) for line in lines]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_qwen2(tmp_path_factory.mktemp("qwen2"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, model: str) -> Weights:
    return trained(job_in(tmp_path_factory.mktemp("alone"), model, zero_stage=0), 1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, model: str) -> Weights:
    return trained(job_in(tmp_path_factory.mktemp("pair"), model), 2)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory, model: str) -> TrainingJob:
    """Two workers: after two steps one gets a SIGTERM, after step 8 of the second stage a SIGKILL."""
    job = job_in(tmp_path_factory.mktemp("crashed"), model)
    with pytest.raises(ProcessException):
        train_in_processes(job, 2, CRASH)
    return job


def copy_of(job: TrainingJob, folder: Path) -> TrainingJob:
    shutil.copytree(job.store.url, folder / "copy")
    return TrainingJob(ObjectStore(str(folder / "copy")), job.recipe, job.manifest)


def test_two_workers_train_the_student_that_one_worker_trains(alone: Weights, pair: Weights) -> None:
    for name, tensor in alone.items():
        torch.testing.assert_close(pair[name], tensor, atol=2e-4, rtol=1e-3)


def test_a_notice_to_one_worker_makes_all_commit_a_checkpoint_and_train_on(crashed: TrainingJob) -> None:
    positions = Checkpoints(crashed.store, crashed.recipe.run_name).positions()
    assert Position(0, 2) in positions
    assert positions[-1] > Position(1, 4)


def test_a_killed_run_ends_bit_for_bit_as_if_nothing_had_happened(crashed: TrainingJob, pair: Weights, tmp_path: Path) -> None:
    job = copy_of(crashed, tmp_path)
    weights = trained(job, 2)
    assert all(torch.equal(weights[name], tensor) for name, tensor in pair.items())
    assert logged(job.store, job.recipe) == LOGGED


def test_a_killed_run_goes_on_with_adams_moments_on_another_number_of_workers(
    crashed: TrainingJob, alone: Weights, tmp_path: Path
) -> None:
    job = copy_of(crashed, tmp_path)
    weights = trained(job, 3)
    for name, tensor in alone.items():
        torch.testing.assert_close(weights[name], tensor, atol=2e-4, rtol=1e-3)
    assert logged(job.store, job.recipe) == LOGGED


def test_what_led_to_a_value_that_is_not_finite_can_be_read_afterwards(tmp_path: Path, model: str) -> None:
    stages = [{"name": "wild", "heads": {16: ALL_LOSSES}, "lr": 1e25, "steps": 8, "batch_size": 8}]
    job = job_in(tmp_path, model, stages=stages, log_every=1)
    with pytest.raises(ProcessRaisedException, match=r"TrainingError: stage 'wild', step 2: .* is (nan|inf)"):
        train_in_processes(job, 1)
    assert logged(job.store, job.recipe) == [("wild", 1)]


@pytest.mark.parametrize("zero_stage", [1, 3])
def test_bfloat16_leaves_frozen_weights_as_they_were(tmp_path: Path, model: str, zero_stage: int) -> None:
    stages = [{"name": "head", "trainable": "heads", "heads": {16: ALL_LOSSES}, "lr": 1e-2, "steps": 5, "batch_size": 8}]
    job = job_in(tmp_path, model, stages=stages, zero_stage=zero_stage, dtype="bfloat16")
    weights = trained(job, 1)
    before = initial_student(job.recipe).state_dict()
    changed = {name for name, tensor in before.items() if not torch.equal(weights[name], tensor)}
    assert changed
    assert all(name.startswith("heads.16.") for name in changed)


def test_all_in_bfloat16_on_two_workers_ends_bit_for_bit_the_same_when_killed(tmp_path: Path, model: str) -> None:
    stages = [{"name": "all", "heads": {16: ALL_LOSSES}, "lr": 1e-3, "steps": 6, "batch_size": 64}]
    whole, killed = (job_in(tmp_path / name, model, stages=stages, zero_stage=2, dtype="bfloat16") for name in ("whole", "killed"))
    with pytest.raises(ProcessException):
        train_in_processes(killed, 2, {("all", 2): signal.SIGTERM, ("all", 6): signal.SIGKILL})
    assert Position(0, 2) in Checkpoints(killed.store, killed.recipe.run_name).positions()
    expected, got = trained(whole, 2), trained(killed, 2)
    start = initial_student(whole.recipe).state_dict()
    assert not torch.equal(expected["heads.16.weight"], start["heads.16.weight"])
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())
