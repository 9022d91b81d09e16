"""The whole training loop under DeepSpeed in plain processes: neither the number of workers nor ZeRO decides the student."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.multiprocessing.spawn import ProcessException, ProcessRaisedException

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.distill.checkpoint import Checkpoints
from mtd_ray.distill.loop import TrainingJob, train
from mtd_ray.distill.metrics import StepMetrics
from mtd_ray.distill.pipeline import final_student, initial_student
from mtd_ray.objects import ObjectStore
from tests.tiny_models import tiny_qwen2
from tests.tiny_run import ALL_LOSSES, store_run, tiny_recipe

pytestmark = pytest.mark.slow

LAST_MID_STAGE = ("all", 6)


def worker(rank: int, workers: int, folder: str, recipe: Recipe, manifest: Manifest, interrupted: bool) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(workers), LOCAL_RANK=str(rank))
    rendezvous = f"file://{folder}/rendezvous-{workers}-{interrupted}"
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=workers)

    def report(metrics: StepMetrics) -> None:
        if interrupted and (metrics.stage, metrics.step) == LAST_MID_STAGE:
            os._exit(1)

    train(TrainingJob(ObjectStore(folder), recipe, manifest), report)
    dist.destroy_process_group()


def run(
    folder: Path,
    model: str,
    workers: int,
    *,
    zero_stage: int = 2,
    interrupted: bool = False,
    dtype: str = "float32",
    log_every: int = 2,
    **changes: Any,
) -> dict[str, torch.Tensor]:
    """Train in ``folder``, from where it stands; the student's weights."""
    store = ObjectStore(str(folder))
    settings = {"workers": workers, "zero_stage": zero_stage, "dtype": dtype, "checkpoint_every": 4, "log_every": log_every}
    recipe = tiny_recipe(store, model, train=settings, **changes)
    manifest = store_run(store, recipe)
    arguments = (workers, str(folder), recipe, manifest, interrupted)
    if interrupted:
        with pytest.raises(ProcessException):
            mp.spawn(worker, arguments, nprocs=workers)
        return {}
    mp.spawn(worker, arguments, nprocs=workers)
    return final_student(store, recipe).state_dict()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_qwen2(tmp_path_factory.mktemp("qwen2"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, model: str) -> dict[str, torch.Tensor]:
    return run(tmp_path_factory.mktemp("alone"), model, 1)


@pytest.mark.parametrize("zero_stage", [0, 3])
def test_two_workers_train_the_student_that_one_worker_trains(
    alone: dict[str, torch.Tensor], tmp_path: Path, model: str, zero_stage: int
) -> None:
    pair = run(tmp_path, model, 2, zero_stage=zero_stage)
    for name, tensor in alone.items():
        torch.testing.assert_close(pair[name], tensor, atol=2e-4, rtol=1e-3)


def test_a_run_continues_on_another_number_of_workers(
    alone: dict[str, torch.Tensor], tmp_path: Path, model: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, model, 2, interrupted=True)
    store = ObjectStore(str(tmp_path))
    recipe = tiny_recipe(store, model)
    newest = Checkpoints(store, recipe.run_name).newest()
    assert newest is not None
    assert (newest.stage, newest.step, newest.workers) == (1, 4, 2)

    weights = run(tmp_path, model, 1)
    assert "with the checkpoint's weights and a new optimizer: the checkpoint is of 2 workers" in capfd.readouterr().err
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    lines = [json.loads(line) for line in store.get(layout.run_metrics(recipe.run_name)).splitlines()]
    steps = [(line["stage"], line["step"]) for line in lines]
    assert steps == [("head", 2), ("head", 4), ("head", 6), ("all", 2), ("all", 4), ("all", 6), ("all", 8), ("all", 10)]


def test_what_led_to_a_value_that_is_not_finite_can_be_read_afterwards(tmp_path: Path, model: str) -> None:
    stages = [{"name": "wild", "heads": {16: ALL_LOSSES}, "lr": 1e25, "steps": 8, "batch_size": 8}]
    with pytest.raises(ProcessRaisedException, match=r"TrainingError: stage 'wild', step 2: .* is (nan|inf)"):
        run(tmp_path, model, 1, stages=stages, log_every=1)
    (metrics,) = tmp_path.glob("runs/*/metrics.jsonl")
    assert json.loads(metrics.read_text())["step"] == 1


@pytest.mark.parametrize("zero_stage", [2, 3])
def test_bfloat16_leaves_frozen_weights_as_they_were(tmp_path: Path, model: str, zero_stage: int) -> None:
    stages = [{"name": "head", "trainable": "heads", "heads": {16: ALL_LOSSES}, "lr": 1e-2, "steps": 5, "batch_size": 8}]
    trained = run(tmp_path, model, 1, zero_stage=zero_stage, dtype="bfloat16", stages=stages)
    before = initial_student(tiny_recipe(ObjectStore(str(tmp_path)), model)).state_dict()
    changed = {name for name, tensor in before.items() if not torch.equal(trained[name], tensor)}
    assert changed
    assert all(name.startswith("heads.16.") for name in changed)
