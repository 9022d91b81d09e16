"""Do the stored targets belong to the texts beside them? Asked of the local teachers, before anything is trained."""

from __future__ import annotations

from mtd_ray.config import LocalTeacher, Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.harvest.reembed import reembed
from mtd_ray.objects import ObjectStore


def local_teachers(recipe: Recipe) -> dict[str, LocalTeacher]:
    """The teachers that a stage uses and that can be asked without an account, by name."""
    used = {name for stage in recipe.stages for name in recipe.stage_teachers(stage)}
    return {name: teacher for name, teacher in recipe.teachers.items() if name in used and isinstance(teacher, LocalTeacher)}


def check_teacher(store: ObjectStore, recipe: Recipe, manifest: Manifest, name: str) -> None:
    """Raise what :func:`mtd_ray.harvest.reembed.reembed` does unless a teacher still gives what is stored, in a few rows."""
    reembed(store, recipe, manifest, name)
