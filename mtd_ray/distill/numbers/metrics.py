"""What training tells about itself: JSON lines in the object store, TensorBoard events, and the recipe's trackers."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.distill.checkpoints.checkpoint import Position
from mtd_ray.distill.numbers.tensorboard import TensorBoard
from mtd_ray.distill.numbers.trackers import Tracker, open_trackers
from mtd_ray.errors import StorageError
from mtd_ray.objects import ObjectStore

_LOG = logging.getLogger(__name__)
_UPLOAD_EVERY_S = 30.0


@dataclass(frozen=True)
class StepMetrics:
    """One logged step; rates and shares are over the time since the last logged one.

    Attributes:
        stage, step: name of the stage and steps done in it, of ``steps``.
        loss, parts: weighted total, and the unweighted parts by ``head/loss`` and ``head/cosine/teacher``.
        learning_rate, gradient_norm: of this step; the norm before clipping.
        samples_per_s, tokens_per_s: of all workers; tokens without padding.
        padding_share: share of the computed tokens that were padding.
        wait_share: share of the time spent waiting for data, on the worker that waited longest.
        seconds_left: until the end of the stage, at this rate.
        missing_share: share of the (row, teacher) pairs without a vector.
        share_of_peak: floating-point operations of the model, recomputed ones left out, as a share of what all devices can do;
            None where that is not known, as on a CPU.
        memory_gb: of the fullest worker, in 10⁹ bytes: the most that its GPU ever held, or the process's present size on a CPU.
        checkpoint_s: for how long checkpoints held training up.
    """

    stage: str
    step: int
    steps: int
    loss: float
    parts: dict[str, float]
    learning_rate: float
    gradient_norm: float
    samples_per_s: float
    tokens_per_s: float
    padding_share: float
    wait_share: float
    seconds_left: float
    missing_share: float
    share_of_peak: float | None
    memory_gb: float
    checkpoint_s: float

    def scalars(self) -> dict[str, float]:
        """What is drawn as a curve, by its name there."""
        curves = {"loss/total": self.loss} | {f"loss/{name}": value for name, value in self.parts.items()}
        return curves | {f"train/{name}": value for name in _CURVES if (value := getattr(self, name)) is not None}


_CURVES = [
    field.name for field in fields(StepMetrics) if field.name not in ("stage", "step", "steps", "loss", "parts", "seconds_left")
]


class MetricsLog:
    """Worker 0's log of a run.

    Lines of steps that are about to be done again are dropped at the start, so a resumed run has every step once. A tracker's
    history cannot be taken back: there, such a step stands twice, with the same values.

    Args:
        clock: seconds; decides when to upload.
    """

    def __init__(self, store: ObjectStore, recipe: Recipe, start: Position, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._recipe, self._clock = store, recipe, clock
        self._uploaded_at = clock()
        self._uploading = threading.Lock()
        self._noted, self._uploaded = 0, -1
        self._stage_names = [stage.name for stage in recipe.stages]
        self._lines = self._lines_before(start)
        self._events = TensorBoard(store, layout.run_tensorboard(recipe.run_name), first_step=self._total(start) + 1)
        self._drawn: list[Tracker] = [self._events, *open_trackers(recipe)]

    def log(self, metrics: StepMetrics) -> None:
        """Note a step; uploads now and then."""
        self._note(asdict(metrics), metrics.scalars())

    def evaluated(self, stage: str, step: int, scores: Mapping[str, float]) -> None:
        """Note what a checkpoint scored, by evaluation set. It may be of an earlier step than the last logged one."""
        curves = {f"evaluation/{name}": score for name, score in scores.items()}
        self._note({"stage": stage, "step": step, "scores": dict(scores)}, curves)

    def snapshot(self) -> Callable[[], None]:
        """What is noted by now. The call brings the stored copies up to date with it, never back, in whatever thread it is made."""
        self._uploaded_at = self._clock()
        text = "".join(line + "\n" for line in self._lines.values()).encode()
        return partial(self._upload, self._noted, text)

    def close(self) -> None:
        """Upload for the last time. StorageError when that fails."""
        try:
            self.snapshot()()
        finally:
            self._close_trackers()

    def abandon(self) -> None:
        """Upload while an error is under way: what goes wrong here is only logged, and never told in place of that error."""
        self._try_upload(self.snapshot())
        try:
            self._close_trackers()
        except Exception as error:
            _LOG.warning("a tracker could not be closed: %s: %s", type(error).__name__, error)

    def _close_trackers(self) -> None:
        with ExitStack() as every:
            for tracker in self._drawn:
                every.callback(tracker.close)

    def _note(self, entry: dict[str, Any], curves: dict[str, float]) -> None:
        self._lines[_key(entry)] = json.dumps(entry)
        self._noted += 1
        step = self._total(self._position(entry))
        for tracker in self._drawn:
            tracker.log(curves, step)
        if self._clock() - self._uploaded_at > _UPLOAD_EVERY_S:
            threading.Thread(target=self._try_upload, args=(self.snapshot(),), name="metrics", daemon=True).start()

    def _try_upload(self, upload: Callable[[], None]) -> None:
        try:
            upload()
        except StorageError as error:
            _LOG.warning("the run's metrics could not be stored; the next upload brings them too: %s", error)

    def _upload(self, noted: int, text: bytes) -> None:
        with self._uploading:
            if noted <= self._uploaded:
                return
            self._store.put(layout.run_metrics(self._recipe.run_name), text)
            self._events.upload()
            self._uploaded = noted

    def _position(self, entry: Mapping[str, Any]) -> Position:
        return Position(self._stage_names.index(entry["stage"]), entry["step"])

    def _total(self, position: Position) -> int:
        """Steps since the run began."""
        return sum(earlier.steps for earlier in self._recipe.stages[: position.stage]) + position.step

    def _lines_before(self, start: Position) -> dict[_Key, str]:
        stored = self._store.find(layout.run_metrics(self._recipe.run_name)) or b""
        entries = [json.loads(line) for line in stored.decode().splitlines()]
        return {_key(entry): json.dumps(entry) for entry in entries if self._total(self._position(entry)) <= self._total(start)}


_Key = tuple[str, int, bool]


def _key(entry: Mapping[str, Any]) -> _Key:
    """There is one line of a step, and one of what its checkpoint scored."""
    return entry["stage"], entry["step"], "scores" in entry
