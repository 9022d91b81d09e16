"""Weights & Biases, MLflow and Trackio: the recipe's ``train.trackers``.

The project (MLflow: the experiment) is named after the recipe and the tracker's run after the run, so that a resumed run goes on in
the same one. Where a tracker sends its numbers, and with whose key, it reads from its own environment variables on worker 0's
machine (``WANDB_API_KEY``, ``MLFLOW_TRACKING_URI``, ``TRACKIO_SPACE_ID``, …).
"""

from __future__ import annotations

import importlib.util
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

from mtd_ray.config import Recipe
from mtd_ray.errors import RecipeError

_LOG = logging.getLogger(__name__)
_CLOSE_S = 60.0


class Tracker(Protocol):
    """Where the curves of a run are drawn."""

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """A point on every curve; ``step`` counts from the beginning of the run."""

    def close(self) -> None:
        """There is no more to come."""


def check_trackers(recipe: Recipe) -> None:
    """RecipeError when a tracker that the recipe names is not installed here."""
    for name in recipe.train.trackers:
        if importlib.util.find_spec(name) is None:
            raise RecipeError(
                f"train.trackers: {name} is not installed; pip install 'mtd-ray[{name}]' on every machine, or leave it out"
            )


def open_trackers(recipe: Recipe) -> list[Tracker]:
    """The recipe's trackers, each at work in the background: none of them holds training up or ends it."""
    return [InBackground(name, partial(_OPENED[name], recipe)) for name in recipe.train.trackers]


class InBackground:
    """A tracker in a thread of its own. One that fails, or cannot be opened, is dropped with a warning.

    Args:
        name: for the warning.
        opened: opens it.
        patience_s: how long :meth:`close` waits for what has not been sent yet.
    """

    def __init__(self, name: str, opened: Callable[[], Tracker], *, patience_s: float = _CLOSE_S) -> None:
        self._name, self._opened, self._patience_s = name, opened, patience_s
        self._points: queue.SimpleQueue[tuple[Mapping[str, float], int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"tracker-{name}", daemon=True)
        self._thread.start()

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Have a point drawn on every curve."""
        if self._thread.is_alive():
            self._points.put((scalars, step))

    def close(self) -> None:
        """Wait until all is drawn, if not for ever."""
        self._points.put(None)
        self._thread.join(self._patience_s)
        if self._thread.is_alive():
            _LOG.warning(
                "tracker %s has not taken the last numbers in %g s; they are in metrics.jsonl", self._name, self._patience_s
            )

    def _work(self) -> None:
        try:
            tracker = self._opened()
            while (point := self._points.get()) is not None:
                tracker.log(*point)
            tracker.close()
        except Exception as error:
            _LOG.warning(
                "tracker %s failed and is dropped; training goes on, and metrics.jsonl has every number: %s: %s",
                self._name, type(error).__name__, error,
            )  # fmt: skip


class Wandb:
    """A run of Weights & Biases, continued where it exists."""

    def __init__(self, recipe: Recipe) -> None:
        import wandb

        self._run = wandb.init(
            project=recipe.name,
            # At most 64 characters; the fingerprint at the end is what tells runs apart.
            id=recipe.run_name[-64:].lstrip("._-"),
            name=recipe.run_name,
            resume="allow",
            config=_described(recipe),
            allow_val_change=True,
        )
        # Its own counter only grows, and would refuse the steps of a resumed run that are done again.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        self._run.log({**scalars, "step": step})

    def close(self) -> None:
        self._run.finish()


class Mlflow:
    """An MLflow run, continued where one with the run's tag exists. The recipe's values are its parameters."""

    _TAG = "mtd_ray_run"

    def __init__(self, recipe: Recipe) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient()
        experiment = self._client.get_experiment_by_name(recipe.name)
        number = self._client.create_experiment(recipe.name) if experiment is None else experiment.experiment_id
        found = self._client.search_runs([number], filter_string=f"tags.{self._TAG} = '{recipe.run_name}'", max_results=1)
        self._run_id = found[0].info.run_id if found else self._started(number, recipe)
        if found:
            self._client.update_run(self._run_id, status="RUNNING")

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._run_id, metrics=[Metric(name, value, now, step) for name, value in scalars.items()])

    def close(self) -> None:
        self._client.set_terminated(self._run_id)

    def _started(self, experiment: str, recipe: Recipe) -> str:
        from mlflow.entities import Param

        run = self._client.create_run(experiment, tags={self._TAG: recipe.run_name}, run_name=recipe.run_name)
        run_id: str = run.info.run_id
        # A request takes 100 parameters of at most 500 characters.
        params = [Param(key, str(value)[:500]) for key, value in _leaves(_described(recipe))]
        for first in range(0, len(params), 100):
            self._client.log_batch(run_id, params=params[first : first + 100])
        return run_id


class Trackio:
    """A Trackio run, continued where it exists."""

    def __init__(self, recipe: Recipe) -> None:
        import trackio

        self._run = trackio.init(project=recipe.name, name=recipe.run_name, config=_described(recipe), resume="allow", embed=False)

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        self._run.log(metrics=dict(scalars), step=step)

    def close(self) -> None:
        self._run.finish()


_OPENED: dict[str, Callable[[Recipe], Tracker]] = {"wandb": Wandb, "mlflow": Mlflow, "trackio": Trackio}


def _described(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values. Its secrets are references, which tell nothing."""
    tree: dict[str, Any] = json.loads(recipe.model_dump_json())
    return tree


def _leaves(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Values with the way to them: ``stages.0.heads.256.cosine``."""
    if not isinstance(tree, dict | list):
        yield key, tree
        return
    for name, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from _leaves(value, f"{key}.{name}" if key else str(name))
