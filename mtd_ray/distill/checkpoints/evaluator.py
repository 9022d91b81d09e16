"""Scores of checkpoints while training goes on: one Ray task at a time, for the newest checkpoint that has none."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import fmean
from typing import Any

import ray
from ray.exceptions import RayError

from mtd_ray.distill.checkpoints.checkpoint import Checkpoints, Position
from mtd_ray.distill.checkpoints.retention import read_scores
from mtd_ray.distill.checkpoints.scoring import score_checkpoint
from mtd_ray.distill.loop import TrainingJob
from mtd_ray.errors import MtdError

_LOG = logging.getLogger(__name__)
_LOOK_S = 5.0
# Fits beside training where that has left next to nothing free.
_CPUS = 0.1


@contextmanager
def checkpoints_scored(job: TrainingJob, told: Callable[[float], None]) -> Iterator[None]:
    """Score new checkpoints for as long as the context lasts, if the recipe wants it. What goes wrong with it is only logged.

    Args:
        told: of each score, the mean over the evaluation sets.
    """
    if not job.recipe.train.evaluate_checkpoints or not job.manifest.pairs:
        yield
        return
    evaluator, ended = _Evaluator(job, told), threading.Event()

    def watch() -> None:
        evaluator.look()
        while not ended.wait(_LOOK_S):
            evaluator.look()

    thread = threading.Thread(target=watch, name="checkpoint-scores", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        evaluator.stop()


class _Evaluator:
    def __init__(self, job: TrainingJob, told: Callable[[float], None]) -> None:
        self._job, self._told = job, told
        self._checkpoints = Checkpoints(job.store, job.recipe.run_name)
        self._tried: set[Position] = set()
        self._running: tuple[Any, Position] | None = None

    def look(self) -> None:
        """Take the result of a task that has ended; start the next one."""
        try:
            if self._running is not None and ray.wait([self._running[0]], timeout=0)[0]:
                self._end(*self._running)
                self._running = None
            if self._running is None and (position := self._next()) is not None:
                self._tried.add(position)
                self._running = self._start(position), position
        except (MtdError, RayError) as error:
            _LOG.warning("checkpoints cannot be scored just now: %s", error)

    def stop(self) -> None:
        """The run is over: what is still being measured is measured again by the evaluation of the whole run."""
        if self._running is not None:
            ray.cancel(self._running[0])

    def _next(self) -> Position | None:
        known = self._tried | read_scores(self._job.store, self._job.recipe.run_name).keys()
        return max((position for position in self._checkpoints.positions() if position not in known), default=None)

    def _start(self, position: Position) -> Any:
        job = self._job
        task = ray.remote(score_checkpoint).options(num_cpus=_CPUS, max_retries=1, name=f"score {_name(job, position)}")
        return task.remote(job.store, job.recipe, job.manifest, position)

    def _end(self, ref: Any, position: Position) -> None:
        try:
            scores: dict[str, float] = ray.get(ref)
        except RayError as error:
            reason = getattr(error, "cause", None) or error
            _LOG.warning("the checkpoint after %s could not be scored; training goes on: %s", _name(self._job, position), reason)
        else:
            shown = ", ".join(f"{task} {100 * value:.2f}" for task, value in scores.items())
            _LOG.info("   score after %s: %s", _name(self._job, position), shown)
            self._told(fmean(scores.values()))


def _name(job: TrainingJob, position: Position) -> str:
    return f"stage {job.recipe.stages[position.stage].name}, step {position.step}"
