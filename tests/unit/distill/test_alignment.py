"""Targets that do not belong to the texts beside them are found before training."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mtd_ray import remote
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.distill import alignment, check_alignment, check_batches
from mtd_ray.distill.alignment import check_teacher, local_teachers
from mtd_ray.distill.checkpoints.checkpoint import Position, corpus_digest
from mtd_ray.distill.checkpoints.writer import CheckpointWriter
from mtd_ray.errors import RecipeError, TargetError
from mtd_ray.harvest import reembed
from mtd_ray.objects import ObjectStore
from mtd_ray.teachers import Answer
from tests.tiny_checkpoint import TinyEngine
from tests.tiny_run import store_run, synthetic_vectors, tiny_recipe

TEACHERS = {
    "local": {"provider": "local", "model": "somewhere", "dimensions": 12},
    "paid": {"provider": "openai", "model": "paid", "dimensions": 4},
}


class FakeTeacher:
    """Answers with the vectors of ``seed``; a local teacher that was harvested has seed 5, the length of its name."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.closed = False

    def embed(self, texts: Sequence[str], kinds: Sequence[str]) -> Answer:
        assert len(texts) == len(kinds) <= 8
        noise = np.random.default_rng(0).normal(scale=1e-3, size=(len(texts), 12)).astype(np.float32)
        return Answer(range(len(texts)), 3 * synthetic_vectors(list(texts), 12, self.seed) + noise, {}, tokens=1, requests=1)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def run(local_store: ObjectStore) -> tuple[ObjectStore, Recipe, Manifest]:
    recipe = tiny_recipe(local_store, "unused", teachers=TEACHERS)
    return local_store, recipe, store_run(local_store, recipe, failed={"local": {0, 39}})


def opened(monkeypatch: pytest.MonkeyPatch, teacher: FakeTeacher) -> list[str]:
    names: list[str] = []

    def fake_open(name: str, config: object, **_: object) -> FakeTeacher:
        names.append(name)
        return teacher

    monkeypatch.setattr(reembed, "open_teacher", fake_open)
    return names


def test_the_local_teacher_is_asked_and_agrees(run: tuple[ObjectStore, Recipe, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = FakeTeacher(seed=5)
    names = opened(monkeypatch, teacher)
    check_teacher(*run, "local")
    assert names == ["local"]
    assert teacher.closed


def test_another_models_vectors_are_refused(run: tuple[ObjectStore, Recipe, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, FakeTeacher(seed=6))
    with pytest.raises(TargetError, match=r"teacher local, shard 0, row \d+: the stored target is not this text's"):
        check_teacher(*run, "local")


def test_only_local_teachers_that_a_stage_uses_are_asked(run: tuple[ObjectStore, Recipe, Manifest]) -> None:
    store, recipe, _ = run
    assert list(local_teachers(recipe)) == ["local"]
    stages = [{"name": "one", "teachers": ["paid"], "heads": {8: {"similarity": 1.0}}, "lr": 1e-3, "steps": 1, "batch_size": 4}]
    assert local_teachers(tiny_recipe(store, "unused", teachers=TEACHERS, stages=stages)) == {}


@pytest.mark.usefixtures("single_process_group")
def test_nobody_is_asked_again_once_training_has_a_checkpoint(
    run: tuple[ObjectStore, Recipe, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, recipe, manifest = run
    writer = CheckpointWriter(store, recipe.run_name, keep=2)
    writer.save(Position(0, 1), TinyEngine(1.0), seconds=1.0, corpus=corpus_digest(manifest), resumable=True)
    writer.finish()
    monkeypatch.setattr(alignment, "start", None)
    check_alignment(*run)


def test_a_teacher_that_no_node_can_run_is_told_again_and_again(
    run: tuple[ObjectStore, Recipe, Manifest], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [{"Alive": True, "Resources": {}}, {"Alive": False, "Resources": {"CPU": 64.0}}]
    waits: list[list[str]] = [[], [], ["task"]]
    grown = {"Alive": True, "Resources": {"CPU": 64.0}}
    cluster = SimpleNamespace(
        nodes=lambda: nodes if waits[1:] else [*nodes, grown],
        wait=lambda refs, **_: (waits.pop(0), []),
        get=lambda ref: None,
    )
    monkeypatch.setattr(remote, "ray", cluster)
    monkeypatch.setattr(alignment, "start", lambda *_: "task")
    with caplog.at_level(logging.WARNING):
        check_alignment(*run)
    before, later = caplog.messages
    assert before == later
    assert before.startswith("no node of the cluster has num_cpus: 1 and num_gpus: 0 at once, which is what teacher local asks for")


def test_a_batch_that_the_corpus_cannot_fill_is_refused(run: tuple[ObjectStore, Recipe, Manifest]) -> None:
    _, recipe, manifest = run
    check_batches(recipe, manifest)
    few = replace(manifest, shards=manifest.shards[:1])
    stages = [recipe.stages[0].model_copy(update={"batch_size": few.rows + 1})]
    with pytest.raises(RecipeError, match=r"stages\.0\.batch_size: 41 is more than the corpus has texts \(40\)"):
        check_batches(recipe.model_copy(update={"stages": stages}), few)
