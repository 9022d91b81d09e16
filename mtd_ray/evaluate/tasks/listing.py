"""Reads off mteb's classes what :mod:`mtd_ray.evaluate.tasks.catalogue` keeps of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import mteb
from mteb.abstasks import AbsTask, AbsTaskRetrieval
from mteb.abstasks.aggregated_task import AbsTaskAggregate
from mteb.get_tasks import TASK_LIST

from mtd_ray.evaluate.tasks.catalogue import Kind, Known, Selection


def list_tasks() -> dict[str, Known]:
    """All tasks of mteb, also those that need more than text."""
    return {task.metadata.name: _known(task) for task in TASK_LIST}


def list_benchmarks() -> dict[str, tuple[Selection, ...]]:
    """All benchmarks of mteb with their tasks, by name and by alias."""
    found: dict[str, tuple[Selection, ...]] = {}
    for benchmark in mteb.get_benchmarks():
        selections = _selections(benchmark.tasks)
        found |= dict.fromkeys([benchmark.name, *(benchmark.aliases or ())], selections)
    return found


def _known(task: type[Any]) -> Known:
    metadata = task.metadata
    kind: Kind = (
        "aggregate" if issubclass(task, AbsTaskAggregate) else "retrieval" if issubclass(task, AbsTaskRetrieval) else "rows"
    )
    return Known(
        name=metadata.name,
        type=metadata.type,
        modalities=tuple(metadata.modalities),
        revision=metadata.revision,
        subsets=tuple(metadata.hf_subsets),
        splits=tuple(metadata.eval_splits),
        kind=kind,
        multilingual=metadata.is_multilingual,
        transforms=task.dataset_transform is not AbsTask.dataset_transform,
        train=getattr(task, "train_split", None),
        parts=_selections(metadata.tasks) if kind == "aggregate" else (),
    )


def _selections(tasks: Iterable[Any]) -> tuple[Selection, ...]:
    return tuple(Selection(task.metadata.name, tuple(task.hf_subsets), tuple(task.eval_splits)) for task in tasks)
