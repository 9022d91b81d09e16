"""Do the stored targets belong to the texts beside them? Asked of the local teachers, before anything is trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from mtd_ray.config import LocalTeacher, Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.distill.checkpoints.checkpoint import Checkpoints, corpus_digest
from mtd_ray.errors import MtdError, TargetError
from mtd_ray.harvest.reembed import reembed
from mtd_ray.objects import ObjectStore

_LOG = logging.getLogger(__name__)
_RETRIES = 3
_WARN_EVERY_S = 60.0


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
    teachers = local_teachers(recipe)
    running = {_start(store, recipe, manifest, name, teacher): name for name, teacher in teachers.items()}
    while running:
        ready, _ = ray.wait(list(running), num_returns=1, timeout=_WARN_EVERY_S)
        if not ready:
            _warn_of_scarce_nodes({name: teachers[name] for name in running.values()})
        for ref in ready:
            _end(ref, running.pop(ref), others=list(running))


def local_teachers(recipe: Recipe) -> dict[str, LocalTeacher]:
    """The teachers that a stage uses and that can be asked without an account, by name."""
    used = {name for stage in recipe.stages for name in recipe.stage_teachers(stage)}
    return {name: teacher for name, teacher in recipe.teachers.items() if name in used and isinstance(teacher, LocalTeacher)}


def check_teacher(store: ObjectStore, recipe: Recipe, manifest: Manifest, name: str) -> None:
    """Raise what :func:`mtd_ray.harvest.reembed.reembed` does unless a teacher still gives what is stored, in a few rows."""
    reembed(store, recipe, manifest, name)


def _start(store: ObjectStore, recipe: Recipe, manifest: Manifest, name: str, teacher: LocalTeacher) -> Any:
    check = ray.remote(check_teacher).options(
        num_cpus=teacher.num_cpus, num_gpus=teacher.num_gpus, max_retries=_RETRIES, name=f"check targets of {name}"
    )
    return check.remote(store, recipe, manifest, name)


def _end(ready: Any, name: str, others: list[Any]) -> None:
    try:
        ray.get(ready)
    except RayError as error:
        for other in others:
            ray.cancel(other)
        if isinstance(error, RayTaskError) and isinstance(error.cause, MtdError):
            raise error.cause from None
        raise TargetError(f"teacher {name}: comparing its targets with its answers failed: {error}") from error


def _warn_of_scarce_nodes(waiting: Mapping[str, LocalTeacher]) -> None:
    """Only warned of: a cluster may grow."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, teacher in waiting.items():
        if not any(node.get("CPU", 0) >= teacher.num_cpus and node.get("GPU", 0) >= teacher.num_gpus for node in nodes):
            _LOG.warning(
                "teacher %s: no node of the cluster has its num_cpus: %g and num_gpus: %g, so that its targets cannot be compared "
                "with its answers: the run waits until the cluster grows",
                name, teacher.num_cpus, teacher.num_gpus,
            )  # fmt: skip
