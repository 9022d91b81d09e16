"""A checkpoint's score on the evaluation pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.corpus.manifest import PAIRS_SCHEMA, content_hash
from mtd_ray.distill.checkpoints.checkpoint import Position
from mtd_ray.distill.checkpoints.retention import read_scores
from mtd_ray.distill.checkpoints.scoring import score_checkpoint, scored_head
from mtd_ray.distill.checkpoints.writer import CheckpointWriter
from mtd_ray.errors import MtdError
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.views import View
from mtd_ray.objects import ObjectStore
from mtd_ray.student import Student
from tests.tiny_models import sentences, tiny_bert
from tests.tiny_run import tiny_recipe

pytestmark = pytest.mark.usefixtures("single_process_group")


class Untrained:
    """An engine that has not made a step."""

    def __init__(self, student: Student) -> None:
        self.student = student

    def weights(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.student.named_parameters()}

    def optimizer_state(self) -> dict[str, Tensor]:
        return {"updates": torch.tensor(1.0)}


@pytest.fixture
def recipe(local_store: ObjectStore, tmp_path: Path) -> Recipe:
    return tiny_recipe(local_store, tiny_bert(tmp_path))


def manifest_with_pairs(store: ObjectStore) -> Manifest:
    """Every query is the passage itself, so that any student that tells texts apart finds it."""
    table = pa.table({"query": sentences(30), "passage": [text + "." for text in sentences(30)]}, schema=PAIRS_SCHEMA)
    buffer: Any = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    store.put(layout.corpus_pairs("corpus", "same"), buffer.getvalue().to_pybytes())
    return Manifest("corpus", (), {}, {"same": layout.corpus_pairs("corpus", "same")}, pairs_sha256={"same": content_hash(table)})


def test_weights_are_measured_and_the_score_stands_beside_them(local_store: ObjectStore, recipe: Recipe) -> None:
    position, manifest = Position(1, 4), manifest_with_pairs(local_store)
    writer = CheckpointWriter(local_store, recipe.run_name, keep=2)
    engine = Untrained(Student.build(recipe.student, recipe.seed))
    writer.save(position, engine, seconds=1.0, corpus="these texts", resumable=True)
    writer.finish()
    scores = score_checkpoint(local_store, recipe, manifest, position)
    assert scores["same"] > 0.5
    score = read_scores(local_store, recipe.run_name)[position]
    assert score == {"attempt": score["attempt"], "head": 16, "mean": scores["same"], "scores": scores}

    damaged = replace(manifest, pairs_sha256={"same": "0" * 64})
    with pytest.raises(MtdError, match="evaluation pairs"):
        score_checkpoint(local_store, recipe, damaged, position)
    assert not local_store.exists(layout.checkpoint_scoring(recipe.run_name, 1, 4))


def test_it_is_spared_while_it_is_measured_and_leaves_no_score_when_it_was_swept_all_the_same(
    local_store: ObjectStore, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    spared: list[bool] = []

    def swept(_encoder: object, _task: object, views: tuple[View, ...]) -> dict[View, TaskScore]:
        spared.append(local_store.exists(layout.checkpoint_scoring(recipe.run_name, 1, 4)))
        local_store.delete(layout.checkpoint_commit(recipe.run_name, 1, 4))
        return {view: TaskScore(0.5) for view in views}

    monkeypatch.setattr("mtd_ray.evaluate.measuring.measure.measure", swept)
    writer = CheckpointWriter(local_store, recipe.run_name, keep=2)
    engine = Untrained(Student.build(recipe.student, recipe.seed))
    writer.save(Position(1, 4), engine, seconds=1.0, corpus="these texts", resumable=True)
    writer.finish()
    score_checkpoint(local_store, recipe, manifest_with_pairs(local_store), Position(1, 4))
    assert spared == [True]
    assert not {"score.json", "scoring.json"} & {info.key.split("/")[-1] for info in local_store.list("runs")}


def test_the_head_that_is_exported_is_measured_where_its_stage_trains_it(local_store: ObjectStore) -> None:
    student = {"model": "unused", "heads": [16, 8], "default_head": 8}
    recipe = tiny_recipe(local_store, "unused", student=student)
    assert scored_head(recipe, Position(0, 4)) == 16
    assert scored_head(recipe, Position(1, 4)) == 8
