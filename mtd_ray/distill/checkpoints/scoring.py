"""How good a checkpoint is: its weights on the recipe's evaluation pairs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.distill.checkpoints.checkpoint import Checkpoint, Checkpoints, Position
from mtd_ray.encoder import StudentEncoder
from mtd_ray.evaluate.models import Published, TextEncoder, opened_student
from mtd_ray.evaluate.tasks import PairsTask
from mtd_ray.evaluate.views import View
from mtd_ray.export import export_student
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student


def score_checkpoint(store: ObjectStore, recipe: Recipe, manifest: Manifest, position: Position) -> dict[str, float]:
    """Measure a checkpoint on the CPU and keep what it scored beside it. Meanwhile no sweep deletes it.

    It is measured at the size that the exported folder uses by default or, where its stage does not train that, at the largest that
    it does train.

    Returns:
        nDCG@10 (0 to 1) by evaluation set.

    Raises:
        MtdError: the checkpoint or the pairs cannot be read.
    """
    with _spared(store, recipe, position):
        checkpoint = Checkpoints(store, recipe.run_name).read(position)
        scores = _measured(store, recipe, manifest, checkpoint)
        head = scored_head(recipe, position)
        record = {"attempt": checkpoint.attempt, "head": head, "mean": fmean(scores.values()), "scores": scores}
        _keep_score(store, recipe, position, record)
    return scores


def spare(store: ObjectStore, recipe: Recipe, position: Position) -> None:
    """Keep a checkpoint from being swept for the next hour."""
    store.put(layout.checkpoint_scoring(recipe.run_name, position.stage, position.step), b"{}")


def release(store: ObjectStore, recipe: Recipe, position: Position) -> None:
    """Let a checkpoint be swept again."""
    store.delete(layout.checkpoint_scoring(recipe.run_name, position.stage, position.step))


@contextmanager
def _spared(store: ObjectStore, recipe: Recipe, position: Position) -> Iterator[None]:
    spare(store, recipe, position)
    try:
        yield
    finally:
        release(store, recipe, position)


def _measured(store: ObjectStore, recipe: Recipe, manifest: Manifest, checkpoint: Checkpoint) -> dict[str, float]:
    from mtd_ray.evaluate.measuring.measure import measure  # mteb takes seconds to import, and only here

    student = Student.build(recipe.student, recipe.seed)
    Checkpoints(store, recipe.run_name).load_student(checkpoint, student)
    view = View(scored_head(recipe, checkpoint.position))
    scores: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="mtd-ray-score-") as folder:
        export_student(student, Path(folder), card=None)
        encoder = _encoder(recipe, folder, checkpoint.attempt, view.size)
        for name, key in manifest.pairs.items():
            spare(store, recipe, checkpoint.position)
            task = PairsTask(name, key, manifest.pairs_sha256[name]).open(store)
            scores[name] = measure(encoder, task, (view,))[view].main
    return scores


def _encoder(recipe: Recipe, folder: str, attempt: str, size: int) -> TextEncoder:
    encoder = StudentEncoder.load(folder, device="cpu")
    return opened_student(encoder, Published(recipe.run_name, attempt), sizes=(size,), prompts=recipe.evaluate.prompts)


def _keep_score(store: ObjectStore, recipe: Recipe, position: Position, record: dict[str, Any]) -> None:
    key = layout.checkpoint_score(recipe.run_name, position.stage, position.step)
    store.put(key, json.dumps(record).encode())
    if not store.exists(layout.checkpoint_commit(recipe.run_name, position.stage, position.step)):
        store.delete(key)  # it was swept meanwhile: a score without a checkpoint is a left-over


def scored_head(recipe: Recipe, position: Position) -> int:
    """The size at which a checkpoint is measured."""
    trained = recipe.stages[position.stage].heads
    return recipe.student.export_head if recipe.student.export_head in trained else max(trained)
