"""Answers reach the store in full chunks, and before half a minute is over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from mtd_ray.evaluate.models.answered import LONGEST_S, Answered
from mtd_ray.evaluate.models.kept import KeptVectors
from mtd_ray.evaluate.vectors import Vectors
from mtd_ray.objects import ObjectStore


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def of(*numbers: int) -> tuple[list[str], Vectors]:
    """Texts, and a vector of each."""
    return [f"text {number}" for number in numbers], np.array([[number] * 4 for number in numbers], np.float32)


def there(store: ObjectStore, *numbers: int) -> list[int]:
    """Which of the texts any process finds."""
    texts, vectors = of(*numbers)
    found, missing = KeptVectors(store, "a" * 64, "b" * 64, 4).find(texts)
    kept = [row for row in range(len(texts)) if row not in missing]
    np.testing.assert_array_equal(found[kept], vectors[kept])
    return [numbers[row] for row in kept]


def test_what_waits_is_kept_when_time_is_up(local_store: ObjectStore) -> None:
    clock, kept = Clock(), KeptVectors(local_store, "a" * 64, "b" * 64, 4)
    answered = Answered(kept, clock)
    texts, vectors = of(1, 2, 3)
    answered.add(texts, vectors, {"text 2": "refused"})
    clock.now += LONGEST_S - 1
    answered.keep_due()
    assert there(local_store, 1, 2, 3) == []
    clock.now += 1
    answered.keep_due()
    assert there(local_store, 1, 2, 3) == [1, 3]
    assert kept.failure("text 2") == "refused"
    answered.add(*of(4), {})
    answered.keep_due()
    assert there(local_store, 4) == []  # its time begins anew


def test_full_chunks_do_not_wait(local_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeptVectors, "chunk_rows", 2)
    answered = Answered(KeptVectors(local_store, "a" * 64, "b" * 64, 4), Clock())
    answered.add(*of(1, 2, 3, 4, 5), {})
    answered.keep_due()
    assert there(local_store, 1, 2, 3, 4, 5) == [1, 2, 3, 4]
    answered.keep()
    assert there(local_store, 5) == [5]
