"""Do the stored targets belong to the texts beside them? Asked of the local teachers, before anything is trained."""

from __future__ import annotations

import ray

from mtd_ray.config import LocalTeacher, Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.distill.checkpoints.checkpoint import Checkpoints, corpus_digest
from mtd_ray.errors import MtdError, TargetError
from mtd_ray.harvest.reembed import reembed
from mtd_ray.objects import ObjectStore
from mtd_ray.remote import Call, answer, first_ended, start, warn_of_scarce_nodes


def check_alignment(store: ObjectStore, recipe: Recipe, manifest: Manifest) -> None:
    """Ask every local teacher of a stage for a few rows again, and compare with what is stored; not once training has a checkpoint.

    Each teacher is a task of its own, on a node that has what the recipe gives it; while no node has, that is said once a minute.
    Ray must be connected.

    Raises:
        TargetError: a stored vector is not the teacher's for its text (teacher, shard and row are named), or no node could ask it.
        TeacherError: a teacher cannot be opened or asked.
        TrainingError: the run's checkpoints were trained on other texts.
    """
    if Checkpoints(store, recipe.run_name).newest(corpus=corpus_digest(manifest)) is not None:
        return
    calls = {
        name: Call(f"check targets of {name}", f"teacher {name}", teacher.num_cpus, teacher.num_gpus)
        for name, teacher in local_teachers(recipe).items()
    }
    warn_of_scarce_nodes(calls.values())
    running = {start(call, check_teacher, store, recipe, manifest, name): call for name, call in calls.items()}
    while running:
        ended = first_ended(running)
        of = running.pop(ended).of
        try:
            answer(ended, f"{of}: comparing its targets with its answers", TargetError)
        except MtdError:
            for other in running:
                ray.cancel(other)
            raise


def local_teachers(recipe: Recipe) -> dict[str, LocalTeacher]:
    """The teachers that a stage uses and that can be asked without an account, by name."""
    used = {name for stage in recipe.stages for name in recipe.stage_teachers(stage)}
    return {name: teacher for name, teacher in recipe.teachers.items() if name in used and isinstance(teacher, LocalTeacher)}


def check_teacher(store: ObjectStore, recipe: Recipe, manifest: Manifest, name: str) -> None:
    """Raise what :func:`mtd_ray.harvest.reembed.reembed` does unless a teacher still gives what is stored, in a few rows."""
    reembed(store, recipe, manifest, name)
