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

from mtd_ray import layout
from mtd_ray.distill.checkpoints.checkpoint import Checkpoints, Position
from mtd_ray.distill.checkpoints.retention import best_of, read_scores
from mtd_ray.distill.checkpoints.scoring import release, score_checkpoint, spare
from mtd_ray.distill.loop import TrainingJob

_LOG = logging.getLogger(__name__)
_LOOK_S = 5.0
# Fits beside training where that has left next to nothing free.
_CPUS = 0.1


@contextmanager
def checkpoints_scored(job: TrainingJob, told: Callable[[float], None]) -> Iterator[None]:
    """Score new checkpoints for as long as the context lasts, if the recipe wants it, and log at its end which one was best.

    What goes wrong with it is only logged.

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
        evaluator.tell_best()


class _Evaluator:
    def __init__(self, job: TrainingJob, told: Callable[[float], None]) -> None:
        self._job, self._told = job, told
        self._checkpoints = Checkpoints(job.store, job.recipe.run_name)
        self._tried: set[Position] = set()
        self._running: tuple[Any, Position] | None = None
        self._complaint = ""

    def look(self) -> None:
        """Take the result of a task that has ended; start the next one."""
        with self._survived():
            if self._running is not None and ray.wait([self._running[0]], timeout=0)[0]:
                ended, self._running = self._running, None
                self._end(*ended)
            if self._running is None and (position := self._next()) is not None:
                # Before the task, which may have to wait for its place on a node.
                spare(self._job.store, self._job.recipe, position)
                self._running = self._start(position), position
                self._tried.add(position)

    def stop(self) -> None:
        """The run is over: what is still being measured is measured again by the evaluation of the whole run."""
        with self._survived():
            if self._running is not None:
                ref, position = self._running
                ray.cancel(ref)
                release(self._job.store, self._job.recipe, position)

    def tell_best(self) -> None:
        """Log which of the checkpoints that are there scored best."""
        with self._survived():
            scores = read_scores(self._job.store, self._job.recipe.run_name)
            means: dict[Position, float] = {position: score["mean"] for position, score in scores.items()}
            if (best := best_of(means)) is not None:
                key = layout.run_checkpoint(self._job.recipe.run_name, best.stage, best.step)
                _LOG.info("   best score: %.2f after %s (%s)", 100 * means[best], _name(self._job, best), key)

    @contextmanager
    def _survived(self) -> Iterator[None]:
        """What goes wrong inside is logged, and once as long as it stays the same: training goes on without scores."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the Rust libraries is no Exception
            if str(error) != self._complaint:
                self._complaint = str(error)
                _LOG.warning("checkpoints cannot be scored just now: %s", error)
        else:
            self._complaint = ""

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
