"""Which rows a teacher embeds again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mtd_ray.config import Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.errors import TargetError
from mtd_ray.harvest import reembed as module
from mtd_ray.harvest.reembed import reembed
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, TargetStore, parts_of, write_part, write_teacher_description
from mtd_ray.teachers import Answer
from tests.tiny_corpus import tiny_recipe, tiny_texts, write_corpus

ROWS, SHARD_ROWS, PART_ROWS, SIZE = 100, 20, 5, 8
TEXTS = tiny_texts(ROWS)
VECTORS = np.random.default_rng(0).standard_normal((ROWS, SIZE)).astype(np.float32)

Run = tuple[ObjectStore, Recipe, Manifest]


class FakeTeacher:
    """Answers with ``VECTORS`` and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def embed(self, texts: Sequence[str], kinds: Sequence[str]) -> Answer:
        self.asked = [TEXTS.index(text) for text in texts]
        return Answer(range(len(texts)), VECTORS[self.asked], {}, tokens=1, requests=1)

    def close(self) -> None: ...


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> FakeTeacher:
    teacher = FakeTeacher()
    monkeypatch.setattr(module, "open_teacher", lambda *_, **__: teacher)
    return teacher


def harvested(store: ObjectStore, failed: set[int]) -> Run:
    """Five shards of four parts."""
    recipe = tiny_recipe(store, {"t": {"provider": "local", "model": "m", "dimensions": SIZE}}, part_rows=PART_ROWS)
    manifest, fingerprint = write_corpus(store, TEXTS, SHARD_ROWS), teacher_fingerprint(recipe.teachers["t"])
    write_teacher_description(store, fingerprint, {}, PART_ROWS)
    for part in parts_of(manifest, PART_ROWS):
        first = SHARD_ROWS * part.shard.index + part.start
        rows = range(first, first + part.rows)
        failures = {row - first: "refused" for row in rows if row in failed}
        ids = [f"t{row}" for row in rows]
        write_part(store, fingerprint, part, ids, VECTORS[list(rows)], failures, tokens=1, requests=1, seconds=0.1)
    return store, recipe, manifest


def test_the_rows_are_spread_over_all_shards_and_only_their_parts_are_read(
    local_store: ObjectStore, teacher: FakeTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = harvested(local_store, failed=set())
    read, read_part = list[Part](), TargetStore.read_part

    def counted(self: TargetStore, part: Part, ids: Sequence[str] | None = None) -> object:
        read.append(part)
        return read_part(self, part, ids)

    monkeypatch.setattr(TargetStore, "read_part", counted)
    assert min(reembed(*run, "t", rows=8)) > 0.999
    assert len(set(teacher.asked)) == 8
    by_shard = np.bincount([row // SHARD_ROWS for row in teacher.asked], minlength=5)
    assert sorted(by_shard) == [1, 1, 2, 2, 2]
    assert {(part.shard.index, part.index) for part in read} == {
        (row // SHARD_ROWS, row % SHARD_ROWS // PART_ROWS) for row in teacher.asked
    }
    assert len(read) <= 8


def test_the_same_rows_are_asked_every_time_and_others_with_another_seed(local_store: ObjectStore, teacher: FakeTeacher) -> None:
    store, recipe, manifest = harvested(local_store, failed=set())
    asked = []
    for seed in (0, 0, 1):
        reembed(store, recipe.model_copy(update={"seed": seed}), manifest, "t", rows=3)
        asked.append(teacher.asked)
    assert asked[0] == asked[1] != asked[2]
    assert len({row // SHARD_ROWS for row in asked[0]}) == 3


def test_rows_without_a_vector_are_not_asked(local_store: ObjectStore, teacher: FakeTeacher) -> None:
    run = harvested(local_store, failed={row for row in range(ROWS) if row % PART_ROWS != 2})
    found = reembed(*run, "t", rows=20)
    assert len(found) == len(teacher.asked) > 5
    assert {row % PART_ROWS for row in teacher.asked} == {2}


def test_a_teacher_without_any_vector_is_named(local_store: ObjectStore, teacher: FakeTeacher) -> None:
    run = harvested(local_store, failed=set(range(ROWS)))
    with pytest.raises(TargetError, match="teacher t: none of the rows looked at has a target"):
        reembed(*run, "t")
    assert teacher.asked == []
