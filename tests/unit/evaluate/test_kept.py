"""Kept vectors are found by their text, by every process, and not under another manner of asking."""

from __future__ import annotations

import numpy as np
import pytest

from mtd_ray import layout
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.models.kept import KeptVectors
from mtd_ray.objects import ObjectStore

TEACHER, MANNER = "a" * 64, "b" * 64
TEXTS = ["one", "two", "three"]
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


def kept(store: ObjectStore, teacher: str = TEACHER, manner: str = MANNER) -> KeptVectors:
    return KeptVectors(store, teacher, manner, 4)


def test_texts_are_found_in_any_order_and_repeated(local_store: ObjectStore) -> None:
    kept(local_store).keep(TEXTS[:2], VECTORS[:2])
    kept(local_store).keep(TEXTS[2:], VECTORS[2:])
    found, unknown = kept(local_store).find(["three", "new", "one", "three"])
    np.testing.assert_array_equal(found, [VECTORS[2], np.zeros(4), VECTORS[0], VECTORS[2]])
    assert unknown == [1]


def test_what_was_just_kept_is_known(local_store: ObjectStore) -> None:
    own = kept(local_store)
    assert own.find(TEXTS)[1] == [0, 1, 2]
    own.keep(TEXTS, VECTORS)
    np.testing.assert_array_equal(own.find(TEXTS)[0], VECTORS)


def test_another_teacher_or_manner_has_its_own(local_store: ObjectStore) -> None:
    kept(local_store).keep(TEXTS, VECTORS)
    assert kept(local_store, teacher="c" * 64).find(TEXTS)[1] == [0, 1, 2]
    assert kept(local_store, manner="c" * 64).find(TEXTS)[1] == [0, 1, 2]


def test_vectors_without_their_texts_are_not_there(local_store: ObjectStore) -> None:
    kept(local_store).keep(TEXTS, VECTORS)
    (texts,) = [info.key for info in local_store.list() if layout.chunk_of_texts(info.key)]
    local_store.delete(texts)
    assert kept(local_store).find(TEXTS)[1] == [0, 1, 2]


def test_damage_is_named(local_store: ObjectStore) -> None:
    kept(local_store).keep(TEXTS, VECTORS)
    (vectors,) = [info.key for info in local_store.list() if not layout.chunk_of_texts(info.key)]
    whole = local_store.get(vectors)
    local_store.put(vectors, whole[:-9])
    with pytest.raises(EvaluationError, match=rf"{vectors} is damaged .*delete the folder"):
        kept(local_store).find(TEXTS)
    local_store.put(vectors, whole)
    with pytest.raises(EvaluationError, match=r"holds \(3, 4\), not the 3 vectors of 5 numbers"):
        KeptVectors(local_store, TEACHER, MANNER, 5).find(TEXTS)


def test_more_chunks_than_are_held_at_once(local_store: ObjectStore) -> None:
    texts = [f"text {number}" for number in range(12)]
    vectors = np.arange(48, dtype=np.float32).reshape(12, 4)
    for row, text in enumerate(texts):
        kept(local_store).keep([text], vectors[row : row + 1])
    own = kept(local_store)
    for _ in range(2):
        np.testing.assert_array_equal(own.find(texts)[0], vectors)


def test_a_chunk_is_about_16_megabytes(local_store: ObjectStore) -> None:
    assert KeptVectors(local_store, TEACHER, MANNER, 1024).chunk_rows == 4096
    assert KeptVectors(local_store, TEACHER, MANNER, 8192).chunk_rows == 512


def test_failures_are_kept_with_their_reason_until_there_is_a_vector(local_store: ObjectStore) -> None:
    kept(local_store).keep_failures({"one": "refused", "two": "too long"})
    own = kept(local_store)
    assert own.find(TEXTS)[1] == [0, 1, 2]
    assert [own.failure(text) for text in TEXTS] == ["refused", "too long", None]
    own.keep(TEXTS[:1], VECTORS[:1])
    assert [kept(local_store).find(TEXTS)[1], own.failure("one")] == [[1, 2], None]


def test_what_others_keep_meanwhile_is_found_and_nothing_is_read_twice(
    local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = kept(local_store), kept(local_store)
    other.keep(TEXTS[:1], VECTORS[:1])
    other.keep_failures({"three": "refused"})
    assert own.find(TEXTS)[1] == [1, 2]
    other.keep(TEXTS[1:2], VECTORS[1:2])
    read: list[str] = []
    get = ObjectStore.get

    def counted(self: ObjectStore, key: str) -> bytes:
        read.append(key)
        return get(self, key)

    monkeypatch.setattr(ObjectStore, "get", counted)
    np.testing.assert_array_equal(own.find(TEXTS)[0], [*VECTORS[:2], np.zeros(4)])
    assert len(read) == 2  # the new chunk's texts and vectors; the other chunk is held
    monkeypatch.setattr(ObjectStore, "list", lambda self, prefix: pytest.fail("listed though all is known"))
    assert own.find(TEXTS)[1] == [2]


def test_damaged_failures_are_named(local_store: ObjectStore) -> None:
    kept(local_store).keep_failures({"one": "refused"})
    (key,) = [info.key for info in local_store.list()]
    for damage in (b"{", b"[]", b'{"no digest": ""}'):
        local_store.put(key, damage)
        with pytest.raises(EvaluationError, match=rf"{key} is damaged .*delete it"):
            kept(local_store).find(TEXTS)
