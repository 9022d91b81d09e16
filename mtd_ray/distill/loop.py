"""What every training worker does: the parts of a run, and in them steps. Runs wherever a process group exists; knows no Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.distill.checkpoints.checkpoint import Checkpoint, Checkpoints, Position, corpus_digest
from mtd_ray.distill.checkpoints.preemption import Preemption, Watch, aws_spot_notice
from mtd_ray.distill.checkpoints.writer import CheckpointWriter
from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.data.feed import stage_batches
from mtd_ray.distill.engine import DeepSpeedEngine
from mtd_ray.distill.numbers.metrics import MetricsLog, StepMetrics
from mtd_ray.distill.parts import Part, parts_from
from mtd_ray.distill.schedule import learning_rate
from mtd_ray.distill.stage import part_engine, part_student, stage_meter, stage_target, training_device
from mtd_ray.distill.step import training_step
from mtd_ray.distill.trunk.cache import TrunkCache
from mtd_ray.distill.trunk.stage import cached_states
from mtd_ray.errors import MtdError
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student

_T = TypeVar("_T")


@dataclass(frozen=True)
class TrainingJob:
    """What is trained: the same on every worker."""

    store: ObjectStore
    recipe: Recipe
    manifest: Manifest


def train(job: TrainingJob, report: Callable[[StepMetrics], None], *, watches: Sequence[Watch] = ()) -> None:
    """Train from the last committed checkpoint to the end of the recipe. Every worker of the process group calls it.

    Args:
        report: told, on worker 0, every logged step.
        watches: asked now and then whether this worker's machine is about to be taken away; then a checkpoint is due at once.

    Raises:
        MtdError: something that a person must act on; the checkpoints so far stay.
    """
    checkpoints = Checkpoints(job.store, job.recipe.run_name)
    checkpoint = _first_workers(lambda: checkpoints.newest(corpus=corpus_digest(job.manifest)))
    start = checkpoint.position if checkpoint else Position()
    spot: list[Watch] = [aws_spot_notice] if job.recipe.train.spot == "aws" else []
    with Preemption([*watches, *spot]) as preemption, _records(job, start) as log:
        run = _Run(job, checkpoints, preemption, log, report, began_at=time.monotonic() - (checkpoint.seconds if checkpoint else 0))
        try:
            for part, first in parts_from(job.recipe, start):
                run.train(part, first, checkpoint)
                # Not the newest: another driver of this run may be further already.
                checkpoint = checkpoints.read(Position(part.stage, part.end))
        finally:
            run.writer.close()


def _first_workers(call: Callable[[], _T]) -> _T:
    """What the call gives worker 0, or its MtdError, on every worker: each for itself may see another state of the store."""
    outcome: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            outcome[0] = call()
        except MtdError as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    return cast("_T", outcome[0])


@contextmanager
def _records(job: TrainingJob, start: Position) -> Iterator[MetricsLog | None]:
    """Worker 0's log of the run."""
    log = MetricsLog(job.store, job.recipe, start.settled(job.recipe)) if dist.get_rank() == 0 else None
    try:
        yield log
    except BaseException:
        if log is not None:
            log.abandon()
        raise
    if log is not None:
        log.close()


class _Run:
    """A run on one worker."""

    def __init__(
        self,
        job: TrainingJob,
        checkpoints: Checkpoints,
        preemption: Preemption,
        log: MetricsLog | None,
        report: Callable[[StepMetrics], None],
        *,
        began_at: float,
    ) -> None:
        self.job, self.checkpoints, self.preemption, self.log, self.report = job, checkpoints, preemption, log, report
        self.began_at = began_at
        self.noted: set[Position] = set()
        self.writer = CheckpointWriter(job.store, job.recipe.run_name, keep=job.recipe.train.keep_checkpoints)

    def train(self, part: Part, first: int, checkpoint: Checkpoint | None) -> None:
        """Do a part's remaining steps, and commit its end."""
        recipe, stage = self.job.recipe, self.job.recipe.stages[part.stage]
        student = part_student(recipe, part, self.checkpoints, checkpoint)
        states = self._states(part, first, student)
        meter = stage_meter(recipe, stage, student)
        target = stage_target(self.job.store, recipe, self.job.manifest, stage)
        engine = part_engine(recipe, part, student, target)
        if checkpoint is not None and first > part.begin:
            engine.restore_optimizer(self.checkpoints.optimizer_state(checkpoint, dist.get_rank()))
        steps = range(first, part.end)
        with self._batches(part, steps, student, states) as batches:
            for step, batch in zip(steps, meter.timed(batches), strict=True):
                rate = learning_rate(stage, step)
                engine.set_learning_rate(rate)
                result = training_step(engine, batch, f"stage {stage.name!r}, step {step + 1}")
                meter.add(result, batch)
                done = step + 1
                if done % recipe.train.log_every == 0 or done == stage.steps:
                    self._note(meter.read(done, result, rate, engine.device))
                if self._checkpoint_is_due(done, engine.device) and done < part.end:
                    with meter.saving():
                        self._save(Position(part.stage, done), engine, resumable=True)
        self._save(Position(part.stage, part.end), engine, resumable=False)
        self.writer.finish()
        engine.close()

    def _states(self, part: Part, first: int, student: Student) -> TrunkCache | None:
        """What the part's frozen trunk makes of its texts; None when the trunk is to be run in every step."""
        return cached_states(
            self.job.store,
            self.job.recipe,
            self.job.manifest,
            part.stage,
            steps=range(part.begin, part.end),
            first=first,
            student=student,
            device=training_device(self.job.recipe.train),
            rank=dist.get_rank(),
            workers=dist.get_world_size(),
        )

    def _batches(
        self, part: Part, steps: range, student: Student, states: TrunkCache | None
    ) -> AbstractContextManager[Iterator[Batch]]:
        return stage_batches(
            self.job.store,
            self.job.recipe,
            self.job.manifest,
            part.stage,
            steps=steps,
            tokenizer=student.tokenizer,
            rank=dist.get_rank(),
            workers=dist.get_world_size(),
            packed=student.packs,
            pinned=self.job.recipe.train.num_gpus > 0,
            states=states,
        )

    def _checkpoint_is_due(self, done: int, device: torch.device) -> bool:
        """Whether to save now, the same on every worker. StorageError when a worker could not write the checkpoint before."""
        noticed, failed = self.preemption.taken(), self.writer.failed
        if dist.get_world_size() > 1:
            flags = torch.tensor([noticed, failed], dtype=torch.uint8, device=device)
            dist.all_reduce(flags, dist.ReduceOp.MAX)
            noticed, failed = map(bool, flags.tolist())
        if failed:
            self.writer.finish()
        every = self.job.recipe.train.checkpoint_every
        return noticed or (every is not None and done % every == 0)

    def _save(self, position: Position, engine: DeepSpeedEngine, *, resumable: bool) -> None:
        self._note_scores()
        self.writer.save(
            position,
            engine,
            seconds=time.monotonic() - self.began_at,
            corpus=corpus_digest(self.job.manifest),
            resumable=resumable,
            # A run resumed from the checkpoint must have the metrics of every step that it keeps.
            first=self.log.snapshot() if self.log is not None else lambda: None,
        )

    def _note_scores(self) -> None:
        """What earlier checkpoints have scored by now."""
        if self.log is None:
            return
        for position, score in self.writer.scores.items():
            if position not in self.noted:
                self.noted.add(position)
                self.log.evaluated(self.job.recipe.stages[position.stage].name, position.step, score["scores"])

    def _note(self, metrics: StepMetrics) -> None:
        if self.log is not None:
            self.log.log(metrics)
            self.report(metrics)
