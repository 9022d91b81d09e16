"""What every training worker does: stages, and in them steps. Runs wherever a process group exists; knows nothing of Ray."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch.distributed as dist

from mtd_ray.config import Recipe, StageConfig
from mtd_ray.corpus import Manifest
from mtd_ray.distill.checkpoint import Checkpoint, Checkpoints, Position, corpus_digest
from mtd_ray.distill.engine import DeepSpeedEngine
from mtd_ray.distill.feed import stage_batches
from mtd_ray.distill.meter import Meter
from mtd_ray.distill.metrics import MetricsLog, StepMetrics
from mtd_ray.distill.schedule import learning_rate
from mtd_ray.distill.step import Distillation, training_step
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingJob:
    """What is trained: the same on every worker."""

    store: ObjectStore
    recipe: Recipe
    manifest: Manifest


def train(job: TrainingJob, report: Callable[[StepMetrics], None]) -> None:
    """Train from the last committed checkpoint to the end of the recipe. Every worker of the process group calls it.

    Args:
        report: told, on worker 0, every logged step.

    Raises:
        MtdError: something that a person must act on; the checkpoints so far stay.
    """
    checkpoints = Checkpoints(job.store, job.recipe.run_name)
    checkpoint = checkpoints.newest(corpus=corpus_digest(job.manifest))
    start = checkpoint.position.settled(job.recipe) if checkpoint else Position()
    log = MetricsLog(job.store, job.recipe, start) if dist.get_rank() == 0 else None
    try:
        for stage in range(start.stage, len(job.recipe.stages)):
            _Stage(job, stage, checkpoints, log, report).train(checkpoint)
            checkpoint = checkpoints.newest()
    finally:
        if log is not None:
            log.close()


class _Stage:
    """One stage on one worker."""

    def __init__(
        self, job: TrainingJob, index: int, checkpoints: Checkpoints, log: MetricsLog | None, report: Callable[[StepMetrics], None]
    ) -> None:
        self.job, self.index, self.checkpoints, self.log, self.report = job, index, checkpoints, log, report
        self.stage: StageConfig = job.recipe.stages[index]
        self.began_at = time.monotonic()

    def train(self, checkpoint: Checkpoint | None) -> None:
        """Do the stage's remaining steps, and commit its end."""
        self.seconds_before = checkpoint.seconds if checkpoint else 0.0
        engine, first = self._restored(checkpoint)
        steps = range(first, self.stage.steps)
        meter = Meter(self.stage.name, self.stage.steps)
        job, tokenizer = self.job, engine.module.student.tokenizer
        workers = {"rank": dist.get_rank(), "workers": dist.get_world_size()}
        with stage_batches(job.store, job.recipe, job.manifest, self.index, steps=steps, tokenizer=tokenizer, **workers) as batches:
            for step, batch in zip(steps, meter.timed(batches), strict=True):
                rate = learning_rate(self.stage, step)
                engine.set_learning_rate(rate)
                result = training_step(engine, batch, f"stage {self.stage.name!r}, step {step + 1}")
                meter.add(result, batch)
                done = step + 1
                if done % self.job.recipe.train.log_every == 0 or done == self.stage.steps:
                    self._log(meter.read(done, result, rate, engine.device))
                if self._checkpoint_is_due(done):
                    self._save(engine, done)
        self._save(engine, self.stage.steps)
        engine.close()

    def _restored(self, checkpoint: Checkpoint | None) -> tuple[DeepSpeedEngine, int]:
        """The stage's engine as the checkpoint left it, and the first step to do."""
        recipe = self.job.recipe
        student = Student.build(recipe.student, recipe.seed)
        if checkpoint is not None:
            self.checkpoints.load_student(checkpoint, student)
        student.freeze(self.stage.trainable, self.stage.heads)
        weights = [recipe.teachers[name].weight for name in recipe.stage_teachers(self.stage)]
        module = Distillation(student, self.stage, weights, recipe.train.micro_batch_tokens)
        engine = DeepSpeedEngine(module, self.stage, recipe.train)
        position = checkpoint.position.settled(recipe) if checkpoint else Position()
        if checkpoint is not None and position == Position(self.index, position.step) and position.step > 0:
            self._continue(checkpoint, engine)
            return engine, position.step
        return engine, 0

    def _continue(self, checkpoint: Checkpoint, engine: DeepSpeedEngine) -> None:
        if checkpoint.continues(self.job.recipe.train, dist.get_world_size()):
            self.checkpoints.load_engine(checkpoint, engine)
        elif dist.get_rank() == 0:
            _LOG.warning(
                "stage %s continues at step %d with the checkpoint's weights and a new optimizer: the checkpoint is of %d workers, "
                "ZeRO-%d, %s, and its optimizer state fits nothing else",
                self.stage.name, checkpoint.step, checkpoint.workers, checkpoint.zero_stage, checkpoint.dtype,
            )  # fmt: skip

    def _checkpoint_is_due(self, done: int) -> bool:
        every = self.job.recipe.train.checkpoint_every
        return every is not None and done % every == 0 and done < self.stage.steps

    def _save(self, engine: DeepSpeedEngine, done: int) -> None:
        # Before the commit, so that a run resumed from it has the metrics of every step it keeps.
        if self.log is not None:
            self.log.upload()
        seconds = self.seconds_before + time.monotonic() - self.began_at
        self.checkpoints.save(
            Position(self.index, done),
            engine,
            self.job.recipe.train,
            seconds,
            corpus=corpus_digest(self.job.manifest),
            resumable=done < self.stage.steps,
        )

    def _log(self, metrics: StepMetrics) -> None:
        if self.log is not None:
            self.log.log(metrics)
            self.report(metrics)
