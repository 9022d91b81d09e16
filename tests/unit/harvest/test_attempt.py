from __future__ import annotations

import numpy as np
import pytest

from mtd_ray.errors import StorageError
from mtd_ray.harvest.attempt import Attempt
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, parts_of
from mtd_ray.targets.micro import MicroPart, Spent, list_micro_parts, write_micro_part
from mtd_ray.teachers import Answer
from tests.tiny_corpus import tiny_texts, write_corpus

TEACHER, DIM, ROWS = "a" * 64, 2, 4
IDS = [f"t{row}" for row in range(ROWS)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def part(local_store: ObjectStore) -> Part:
    return parts_of(write_corpus(local_store, tiny_texts(ROWS), shard_rows=ROWS), ROWS)[0]


def answer(*rows: int, value: float = 1.0) -> Answer:
    return Answer(rows, np.full((len(rows), DIM), value, np.float32), {}, tokens=len(rows), requests=1, usd=0.5)


def test_rows_that_two_dead_attempts_both_paid_are_taken_once_and_counted_twice(local_store: ObjectStore, part: Part) -> None:
    for name, rows, value in (("first", [0, 1], 1.0), ("second", [1, 2], 2.0)):
        micro = MicroPart(rows, np.full((2, DIM), value, np.float32), {rows[1]: f"refused by {name}"}, Spent(tokens=2, usd=0.5))
        write_micro_part(local_store, TEACHER, part, name, micro)
    attempt = Attempt(local_store, TEACHER, part, DIM)
    attempt.resume()
    assert attempt.missing == [3]
    assert attempt.vectors[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert attempt.failures == {1: "refused by first", 2: "refused by second"}
    attempt.add(answer(0), attempt.missing)
    commit = attempt.commit(IDS)
    assert commit is not None
    assert (commit.tokens, commit.usd, commit.failed_rows) == (5, 1.5, 2)
    assert (attempt.spent.tokens, attempt.spent.usd) == (1, 0.5)
    assert list_micro_parts(local_store, TEACHER, part) == []


def test_the_wait_is_that_of_the_oldest_row_in_memory(local_store: ObjectStore, part: Part) -> None:
    clock = Clock()
    attempt = Attempt(local_store, TEACHER, part, DIM, clock)
    waits = []
    for row, now in enumerate((10.0, 15.0, 40.0)):
        clock.now = now
        attempt.add(answer(row), range(ROWS))
        waits.append(attempt.unwritten_for())
    assert waits == [0.0, 5.0, 30.0]
    attempt.put_away()
    assert attempt.unwritten_for() == 0.0
    attempt.put_away()
    assert len(list_micro_parts(local_store, TEACHER, part)) == 1, "nothing new, nothing written"


def test_micro_parts_that_cannot_be_deleted_do_not_undo_the_commit(
    local_store: ObjectStore, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = Attempt(local_store, TEACHER, part, DIM)
    attempt.add(answer(*range(ROWS)), range(ROWS))
    attempt.put_away()

    def refuse(self: ObjectStore, key: str) -> None:
        raise StorageError("access was refused")

    monkeypatch.setattr(ObjectStore, "delete", refuse)
    assert attempt.commit(IDS) is not None
