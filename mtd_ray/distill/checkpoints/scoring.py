"""How good a checkpoint is: its weights on the recipe's evaluation pairs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import fmean

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest, read_pairs
from mtd_ray.distill.checkpoints.checkpoint import Checkpoints, Position
from mtd_ray.encoder import StudentEncoder
from mtd_ray.evaluate.models import student_vectors
from mtd_ray.evaluate.texts import RetrievalTexts
from mtd_ray.export import export_student
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student


def score_checkpoint(store: ObjectStore, recipe: Recipe, manifest: Manifest, position: Position) -> dict[str, float]:
    """Measure a checkpoint on the CPU and keep what it scored beside it.

    It is measured at the size that the exported folder uses by default or, where its stage does not train that, at the largest that
    it does train.

    Returns:
        nDCG@10 (0 to 1) by evaluation set.

    Raises:
        MtdError: the checkpoint or the pairs cannot be read.
    """
    from mtd_ray.evaluate.score import score  # mteb takes seconds to import, and only here

    checkpoints = Checkpoints(store, recipe.run_name)
    student = Student.build(recipe.student, recipe.seed)
    checkpoints.load_student(checkpoints.read(position), student)
    head = scored_head(recipe, position)
    scores: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="mtd-ray-score-") as folder:
        export_student(student, Path(folder), card=None)
        encoder = StudentEncoder.load(folder, device="cpu")
        for task, key in manifest.pairs.items():
            texts = RetrievalTexts.from_pairs(task, read_pairs(store, key, manifest.pairs_sha256[task]))
            scores[task] = score(texts, student_vectors(encoder, texts, (head,))[head])
    record = {"head": head, "mean": fmean(scores.values()), "scores": scores}
    store.put(layout.checkpoint_score(recipe.run_name, position.stage, position.step), json.dumps(record).encode())
    return scores


def scored_head(recipe: Recipe, position: Position) -> int:
    """The size at which a checkpoint is measured."""
    trained = recipe.stages[position.stage].heads
    return recipe.student.export_head if recipe.student.export_head in trained else max(trained)
