"""Distillation on a Ray cluster: Ray Train places the workers and restarts them; checkpoints are our own."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import ray
import ray.train
import torch
from ray.exceptions import RayError
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mtd_ray import layout
from mtd_ray.config import Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.distill.alignment import check_alignment
from mtd_ray.distill.board import Board
from mtd_ray.distill.checkpoints.checkpoint import Checkpoint, Checkpoints, corpus_digest
from mtd_ray.distill.checkpoints.evaluator import checkpoints_scored
from mtd_ray.distill.checkpoints.notices import NoticedTorch, node_drains
from mtd_ray.distill.checkpoints.retention import sweep_finished
from mtd_ray.distill.loop import TrainingJob, train
from mtd_ray.distill.numbers.metrics import StepMetrics
from mtd_ray.distill.numbers.progress import Progress
from mtd_ray.errors import MtdError, RecipeError, StorageError, TargetError, TrainingError
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student
from mtd_ray.targets import pending_parts

_LOG = logging.getLogger(__name__)
_POLL_S = 0.5

__all__ = ["DistillReceipt", "check_alignment", "check_batches", "distill", "final_student", "initial_student"]


@dataclass(frozen=True)
class DistillReceipt:
    """What a distillation came to. ``seconds`` is training time over all attempts, ``checkpoint`` the key of the final weights."""

    run: str
    stages: int
    steps: int
    seconds: float
    checkpoint: str
    already_finished: bool


def distill(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> DistillReceipt:
    """Train the recipe's student, or what is left of it; a finished run returns at once. Ray must be connected.

    Raises:
        RecipeError: a stage's batches are larger than the corpus, or smaller than the number of workers.
        TargetError: a teacher is not harvested to the end, or its targets are damaged.
        TrainingError: a value is not finite (stage, step and rows are named), workers died too often, or the run's checkpoints were
            trained on other texts.
    """
    if (finished := _finished(store, recipe, manifest)) is not None:
        sweep_finished(store, recipe.run_name, recipe.train.keep_checkpoints)
        return _receipt(recipe, finished, already_finished=True)
    check_batches(recipe, manifest)
    _check_targets(store, recipe, manifest)
    _run(TrainingJob(store, recipe, manifest))
    if (finished := _finished(store, recipe, manifest)) is None:
        raise TrainingError(f"training of {recipe.run_name} ended without its last checkpoint; run again to continue")
    sweep_finished(store, recipe.run_name, recipe.train.keep_checkpoints)
    return _receipt(recipe, finished, already_finished=False)


def check_batches(recipe: Recipe, manifest: Manifest) -> None:
    """RecipeError when a stage's batches are larger than the corpus, or smaller than the number of workers."""
    for index, stage in enumerate(recipe.stages):
        where = f"stages.{index}.batch_size: {stage.batch_size}"
        if stage.batch_size > manifest.rows:
            raise RecipeError(f"{where} is more than the corpus has texts ({manifest.rows})")
        if stage.batch_size < recipe.train.workers:
            raise RecipeError(f"{where} is less than train.workers ({recipe.train.workers}): a worker would have no row")


def initial_student(recipe: Recipe) -> Student:
    """The student before its first step: the baseline that training must beat."""
    return Student.build(recipe.student, recipe.seed)


def final_student(store: ObjectStore, recipe: Recipe) -> Student:
    """The trained student. TrainingError when training is not finished."""
    checkpoint = _finished(store, recipe)
    if checkpoint is None:
        raise TrainingError(f"run {recipe.run_name} is not trained to the end: run its job again, it continues where it stopped")
    student = initial_student(recipe)
    Checkpoints(store, recipe.run_name).load_student(checkpoint, student)
    return student


def _finished(store: ObjectStore, recipe: Recipe, manifest: Manifest | None = None) -> Checkpoint | None:
    checkpoint = Checkpoints(store, recipe.run_name).newest(corpus=corpus_digest(manifest) if manifest else None)
    return checkpoint if checkpoint is not None and checkpoint.position.settled(recipe).stage == len(recipe.stages) else None


def _receipt(recipe: Recipe, checkpoint: Checkpoint, *, already_finished: bool) -> DistillReceipt:
    return DistillReceipt(
        run=recipe.run_name,
        stages=len(recipe.stages),
        steps=sum(stage.steps for stage in recipe.stages),
        seconds=checkpoint.seconds,
        checkpoint=layout.checkpoint_attempt(recipe.run_name, checkpoint.stage, checkpoint.step, checkpoint.attempt),
        already_finished=already_finished,
    )


def _check_targets(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> None:
    for name in dict.fromkeys(name for stage in recipe.stages for name in recipe.stage_teachers(stage)):
        missing = pending_parts(store, teacher_fingerprint(recipe.teachers[name]), manifest, recipe.harvest.part_rows)
        if missing:
            raise TargetError(f"teacher {name}: {len(missing)} parts are not harvested yet; run the harvest to the end first")


def _run(job: TrainingJob) -> None:
    board = _board()
    failure: Exception | None = None
    try:
        with (
            tempfile.TemporaryDirectory(prefix="mtd-ray-train-") as folder,
            _shown(board, job.recipe) as progress,
            checkpoints_scored(job, progress.evaluated),
        ):
            _trainer(job, board, folder).fit()
    except ray.train.TrainingFailedError as error:
        failure = error
    finally:
        cause, over = _news(board.ending) or (None, False)
        ray.kill(board)
    if failure is not None or over:
        raise cause or _too_many_failures(job.recipe, failure)


def _board() -> Any:
    """Beside the driver: a node of workers may be lost, and what they told must not be lost with it."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(Board).remote()


def _news(ask: Any, *words: Any, **more: Any) -> Any:
    """What the board answers; None when it cannot, which is no reason to end a training."""
    try:
        return ray.get(ask.remote(*words, **more))
    except RayError as error:
        _LOG.debug("no news from the training workers: %s", error)
        return None


def _trainer(job: TrainingJob, board: Any, folder: str) -> TorchTrainer:
    train = job.recipe.train
    resources = {"CPU": train.num_cpus} | ({"GPU": train.num_gpus} if train.num_gpus else {})
    return TorchTrainer(
        _work,
        train_loop_config={"job": job, "board": board},
        torch_config=NoticedTorch(backend="nccl" if train.num_gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=train.workers, use_gpu=train.num_gpus > 0, resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            # A name that Ray Train knows as finished would silently do nothing.
            name=f"{job.recipe.run_name}-{uuid.uuid4().hex[:8]}",
            storage_path=folder,
            failure_config=ray.train.FailureConfig(max_failures=train.max_failures),
        ),
    )


def _work(config: dict[str, Any]) -> None:
    """A training worker. An error that would only come again ends the run instead of being retried."""
    job: TrainingJob = config["job"]
    board = config["board"]
    if _news(board.is_over):
        return
    if ray.train.get_context().get_world_rank() == 0:
        # Before the others can fail: they wait for worker 0's choice of a checkpoint.
        _news(board.begin)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(max(1, int(job.recipe.train.num_cpus)))
    try:
        train(job, lambda metrics: board.show.remote(asdict(metrics)), watches=[node_drains])
    except MtdError as error:
        _news(board.fail, error, over=not isinstance(error, StorageError))
        raise


@contextmanager
def _shown(board: Any, recipe: Recipe) -> Iterator[Progress]:
    """Show the board's last step for as long as the context lasts."""
    progress = Progress([stage.name for stage in recipe.stages])
    ended = threading.Event()

    def show() -> None:
        if (metrics := _news(board.metrics)) is not None:
            progress.show(StepMetrics(**metrics))

    def watch() -> None:
        while not ended.wait(_POLL_S):
            show()

    thread = threading.Thread(target=watch, name="distil-progress", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        ended.set()
        thread.join()
        show()


def _too_many_failures(recipe: Recipe, failure: Exception | None) -> TrainingError:
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return TrainingError(
        f"training of {recipe.run_name} failed more often than train.max_failures ({recipe.train.max_failures}) allows; the last "
        f"failure: {lines[-1] if lines else type(failure).__name__}. Run again to continue from the last checkpoint"
    )
