"""Vectors that are kept."""

from __future__ import annotations

import numpy as np
import pytest

from serve.engine.cache import Cache
from serve.engine.work import Key


def key(number: int) -> Key:
    return Cache.key("m", [number], 8)


def test_the_vectors_used_last_stay_within_the_bytes() -> None:
    cache = Cache(10 * (32 + 450))
    for number in range(10):
        cache.put(key(number), np.full(8, number, np.float32))
    assert cache.get(key(0)) is not None
    for number in range(10, 15):
        cache.put(key(number), np.full(8, number, np.float32))
    assert [number for number in range(15) if cache.get(key(number)) is not None] == [0, *range(6, 15)]


def test_a_kept_vector_cannot_be_changed() -> None:
    cache = Cache(10_000)
    given = np.zeros(8, np.float32)
    kept = cache.put(key(1), given)
    given[0] = 1
    assert kept[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 1


def test_a_cache_smaller_than_a_vector_keeps_none() -> None:
    cache = Cache(10)
    assert cache.put(key(1), np.ones(8, np.float32))[0] == 1
    assert cache.get(key(1)) is None


def test_a_vector_belongs_to_its_model_ids_and_size() -> None:
    keys = {Cache.key(model, ids, size) for model in "mn" for ids in ([1], [1, 2], [2, 1], [258]) for size in (8, 16)}
    assert len(keys) == 16
