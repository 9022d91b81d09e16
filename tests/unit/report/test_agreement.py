"""How close heads are to the target: on texts that training did not see, with what is stored, of known vectors."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mtd_ray import layout
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.corpus.manifest import PAIRS_SCHEMA, content_hash
from mtd_ray.evaluate.models import Access, Asked, MeasuredTeacher
from mtd_ray.losses import HeadTarget
from mtd_ray.objects import ObjectStore
from mtd_ray.report.agreement import agreements, mean_cosine, neighbour_overlap
from mtd_ray.report.unseen import drawn_rows, unseen_texts
from mtd_ray.teachers import Answer
from tests.tiny_models import sentences
from tests.tiny_run import store_run, synthetic_vectors, tiny_recipe

SIZES = {"alpha": 12, "beta": 4}
SINGLE_BATCHES = {"workers": 1, "length_window": 1, "shuffle_shards": 8}


def vectors_of(name: str, texts: Sequence[str]) -> np.ndarray:
    return synthetic_vectors(list(texts), SIZES[name], seed=len(name))


class Student:
    """Gives the target itself at size 16 and half of each teacher's numbers, mixed up, at size 8."""

    @contextmanager
    def open(self, store: ObjectStore, access: Access) -> Iterator[Any]:
        yield SimpleNamespace(sizes=(8, 16), encode=self._encode)

    def _encode(self, texts: Sequence[str], asked: Asked) -> dict[int, np.ndarray]:
        alpha, beta = (vectors_of(name, texts) for name in SIZES)
        whole = np.concatenate([alpha, 0.5**0.5 * beta], axis=1).astype(np.float32)
        return {16: 3 * whole, 8: whole[:, ::2]}


class FakeTeacher:
    def __init__(self, name: str) -> None:
        self.name = name

    def answers(self, texts: Sequence[str], kinds: Sequence[str], *, tick_s: float) -> Iterator[Answer]:
        yield Answer(range(len(texts)), vectors_of(self.name, texts), {}, tokens=0, requests=1)

    def close(self) -> None:
        pass


@pytest.fixture
def recipe(local_store: ObjectStore) -> Recipe:
    return tiny_recipe(local_store, "none", train=SINGLE_BATCHES)


def with_pairs(store: ObjectStore, manifest: Manifest) -> Manifest:
    pairs = pa.table({"query": sentences(30, seed=5), "passage": [f"file {text}" for text in sentences(30, seed=6)]}, PAIRS_SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(pairs, buffer)
    key = layout.corpus_pairs(manifest.fingerprint, "heldout")
    store.put(key, buffer.getvalue())
    return replace(manifest, pairs={"heldout": key}, pairs_sha256={"heldout": content_hash(pairs)})


def measure_teachers(monkeypatch: pytest.MonkeyPatch, store: ObjectStore, recipe: Recipe, texts: dict[str, Sequence[str]]) -> None:
    """As an evaluation does: their vectors are kept."""
    monkeypatch.setattr("mtd_ray.evaluate.models.teacher.open_teacher", lambda name, config, **shared: FakeTeacher(name))
    for name, config in recipe.teachers.items():
        with MeasuredTeacher(name, config).open(store, Access()) as encoder:
            for side, own in texts.items():
                encoder.encode(own, Asked("heldout", "Retrieval", side))  # type: ignore[arg-type]
    monkeypatch.undo()


def test_a_student_that_is_the_target_agrees_entirely(local_store: ObjectStore, recipe: Recipe) -> None:
    manifest = store_run(local_store, recipe)
    small, large = agreements(local_store, recipe, manifest, Student())  # type: ignore[arg-type]
    assert (large.size, large.cosine, large.overlap) == (16, pytest.approx(1, abs=1e-5), pytest.approx(1, abs=0.01))
    assert small.size == 8
    assert small.cosine is None  # the recipe compares this head's similarities only
    assert 0.3 < small.overlap < 0.95


def test_without_pairs_it_is_rows_that_no_batch_held(local_store: ObjectStore, recipe: Recipe) -> None:
    manifest = store_run(local_store, recipe, failed={"beta": {0, 119}})
    unseen = [np.flatnonzero(~drawn) for drawn in drawn_rows(recipe, manifest)]
    assert sum(map(len, unseen)) >= 120 - 6 * 8 - 10 * 8
    expected = {40 * shard + int(row) for shard, rows in enumerate(unseen) for row in rows} - {0, 119}
    found = unseen_texts(local_store, recipe, manifest)
    assert {int(text.split()[-1]) for text in found.texts} == expected
    np.testing.assert_allclose(found.targets["alpha"], vectors_of("alpha", found.texts), atol=1e-3)


def test_a_recipe_that_trains_on_everything_has_none(local_store: ObjectStore) -> None:
    recipe = tiny_recipe(local_store, "none")  # its windows are as large as the corpus
    manifest = store_run(local_store, recipe)
    assert agreements(local_store, recipe, manifest, Student()) == ()  # type: ignore[arg-type]


def test_pairs_that_the_teachers_were_measured_on_come_first(
    monkeypatch: pytest.MonkeyPatch, local_store: ObjectStore, recipe: Recipe
) -> None:
    manifest = with_pairs(local_store, store_run(local_store, recipe))
    assert not unseen_texts(local_store, recipe, manifest).texts[0].startswith("file")  # none is kept yet: the corpus
    queries, passages = sentences(30, seed=5), [f"file {text}" for text in sentences(30, seed=6)]
    measure_teachers(monkeypatch, local_store, recipe, {"query": queries, "document": passages[:20]})
    found = unseen_texts(local_store, recipe, manifest)
    assert list(found.texts) == [*queries, *passages[:20]]
    assert [asked.side for asked in found.asked] == ["query"] * 30 + ["document"] * 20
    _, large = agreements(local_store, recipe, manifest, Student())  # type: ignore[arg-type]
    assert (large.texts, large.cosine) == (50, pytest.approx(1, abs=1e-5))


def test_a_head_with_principal_directions_has_a_cosine(local_store: ObjectStore) -> None:
    losses = {"cosine": 10.0, "target": "pca"}
    stages = [{"name": "one", "heads": {8: losses}, "lr": 1e-3, "steps": 2, "batch_size": 8}]
    recipe = tiny_recipe(local_store, "none", stages=stages, train=SINGLE_BATCHES)
    found, _ = agreements(local_store, recipe, store_run(local_store, recipe), Student())  # type: ignore[arg-type]
    assert found.cosine is not None
    assert -1 <= found.cosine < 0.9


def test_a_beginning_that_no_stage_names_is_compared_all_the_same(local_store: ObjectStore) -> None:
    stages = [{"name": "one", "heads": {16: {"cosine": 1.0}}, "lr": 1e-3, "steps": 2, "batch_size": 8}]
    student = {"model": "none", "heads": [8, 16], "matryoshka": "nested"}
    recipe = tiny_recipe(local_store, "none", stages=stages, train=SINGLE_BATCHES, student=student)
    small, large = agreements(local_store, recipe, store_run(local_store, recipe), Student())  # type: ignore[arg-type]
    assert (small.size, small.cosine, large.size) == (8, None, 16)
    assert 0.3 < small.overlap < 0.95


def test_numbers_that_no_teacher_of_the_stage_gives_do_not_count() -> None:
    present = torch.tensor([[True, True, False], [True, True, True]])
    target = HeadTarget(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), present)
    vectors = torch.tensor([[2.0, 0.0, 9.0], [0.0, 3.0, 4.0]])
    assert mean_cosine(vectors, target) == pytest.approx((1 + 0.6) / 2)


def test_overlap_counts_shared_neighbours() -> None:
    angles = torch.arange(40) / 10
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert neighbour_overlap(circle, 5 * circle) == 1
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert neighbour_overlap(circle, circle[order]) < 0.5
    assert neighbour_overlap(circle[:3], circle[:3].flip(1), count=2) == 1
