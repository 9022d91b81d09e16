"""Targets that do not belong to the texts beside them are found before training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.distill import alignment, check_alignment
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.teachers import Answer
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
        return Answer(3 * synthetic_vectors(list(texts), 12, self.seed) + noise, {}, tokens=1, requests=1)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def run(local_store: ObjectStore) -> tuple[ObjectStore, Recipe, Manifest]:
    recipe = tiny_recipe(local_store, "unused", teachers=TEACHERS)
    return local_store, recipe, store_run(local_store, recipe, failed={"local": {0, 39}})


def opened(monkeypatch: pytest.MonkeyPatch, teacher: FakeTeacher) -> list[str]:
    names: list[str] = []

    def fake_open(name: str, config: object) -> FakeTeacher:
        names.append(name)
        return teacher

    monkeypatch.setattr(alignment, "open_teacher", fake_open)
    return names


def test_the_local_teacher_is_asked_and_agrees(run: tuple[ObjectStore, Recipe, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = FakeTeacher(seed=5)
    names = opened(monkeypatch, teacher)
    check_alignment(*run)
    assert names == ["local"]
    assert teacher.closed


def test_another_models_vectors_are_refused(run: tuple[ObjectStore, Recipe, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, FakeTeacher(seed=6))
    with pytest.raises(TargetError, match=r"teacher local, shard 0, row 1: the stored target is not this text's"):
        check_alignment(*run)


def test_a_teacher_that_no_stage_uses_is_not_asked(
    run: tuple[ObjectStore, Recipe, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, manifest = run
    stages = [{"name": "one", "teachers": ["paid"], "heads": {8: {"similarity": 1.0}}, "lr": 1e-3, "steps": 1, "batch_size": 4}]
    names = opened(monkeypatch, FakeTeacher(seed=6))
    check_alignment(store, tiny_recipe(store, "unused", teachers=TEACHERS, stages=stages), manifest)
    assert names == []
