"""What training tells about itself: a JSON line per logged step, and TensorBoard events, both kept in the object store."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.distill.checkpoint import Position
from mtd_ray.objects import ObjectStore

_UPLOAD_EVERY_S = 30.0


@dataclass(frozen=True)
class StepMetrics:
    """One logged step; rates and shares are means over the steps since the last logged one.

    Attributes:
        stage, step: name of the stage and steps done in it, of ``steps``.
        loss, parts: weighted total, and the unweighted parts by ``head/loss``.
        learning_rate, gradient_norm: of this step; the norm before clipping.
        samples_per_s, tokens_per_s: of all workers; tokens without padding.
        padding_share: share of the computed tokens that were padding.
        wait_share: share of the time spent waiting for data, on worker 0.
        seconds_left: until the end of the stage, at this rate.
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


class MetricsLog:
    """Worker 0's log of a run.

    Lines of steps that are about to be done again are dropped at the start, so a resumed run has every step once.

    Args:
        clock: seconds; decides when to upload.
    """

    def __init__(self, store: ObjectStore, recipe: Recipe, start: Position, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._recipe, self._clock = store, recipe, clock
        self._uploaded_at = clock()
        self._lines = self._lines_before(start)
        self._folder = tempfile.TemporaryDirectory(prefix="mtd-ray-tensorboard-")
        self._events = SummaryWriter(self._folder.name, purge_step=self._total(start.stage, start.step) + 1)

    def log(self, metrics: StepMetrics) -> None:
        """Note a step; uploads now and then."""
        self._lines.append(json.dumps(asdict(metrics)))
        step = self._total(self._stage_names.index(metrics.stage), metrics.step)
        scalars = {"loss/total": metrics.loss} | {f"loss/{name}": value for name, value in metrics.parts.items()}
        for name in ("learning_rate", "gradient_norm", "samples_per_s", "tokens_per_s", "padding_share", "wait_share"):
            scalars[f"train/{name}"] = getattr(metrics, name)
        for name, value in scalars.items():
            self._events.add_scalar(name, value, step)
        if self._clock() - self._uploaded_at > _UPLOAD_EVERY_S:
            self.upload()

    def upload(self) -> None:
        """Bring the stored copies up to date."""
        self._uploaded_at = self._clock()
        self._store.put(layout.run_metrics(self._recipe.run_name), "".join(line + "\n" for line in self._lines).encode())
        self._events.flush()
        self._store.upload_folder(Path(self._folder.name), layout.run_tensorboard(self._recipe.run_name))

    def close(self) -> None:
        """Upload for the last time."""
        self.upload()
        self._events.close()
        self._folder.cleanup()

    @property
    def _stage_names(self) -> list[str]:
        return [stage.name for stage in self._recipe.stages]

    def _total(self, stage: int, step: int) -> int:
        """Steps since the run began."""
        return sum(earlier.steps for earlier in self._recipe.stages[:stage]) + step

    def _lines_before(self, start: Position) -> list[str]:
        stored = self._store.find(layout.run_metrics(self._recipe.run_name)) or b""
        kept = []
        for line in stored.decode().splitlines():
            entry = json.loads(line)
            if Position(self._stage_names.index(entry["stage"]), entry["step"]) <= _last_done(start, self._recipe):
                kept.append(line)
        return kept


def _last_done(start: Position, recipe: Recipe) -> Position:
    """The last step that will not be done again."""
    if start.step == 0 and start.stage > 0:
        return Position(start.stage - 1, recipe.stages[start.stage - 1].steps)
    return start
