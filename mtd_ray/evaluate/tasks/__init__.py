"""The tasks that models are measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtd_ray.evaluate.tasks.pairs import PairsTask, mteb_task
from mtd_ray.evaluate.tasks.task import Task

if TYPE_CHECKING:
    from mtd_ray.config import Recipe
    from mtd_ray.corpus import Manifest
    from mtd_ray.objects import ObjectStore

__all__ = ["PairsTask", "Task", "mteb_task", "tasks_of"]


def tasks_of(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> tuple[Task, ...]:
    """What a recipe measures on, in the order of a report: the corpus's pairs."""
    return tuple(PairsTask(name, key, manifest.pairs_sha256[name]) for name, key in manifest.pairs.items())
