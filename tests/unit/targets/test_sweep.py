from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from mtd_ray import layout
from mtd_ray.errors import StorageError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, parts_of, write_part
from mtd_ray.targets.micro import MicroPart, Spent, write_micro_part
from mtd_ray.targets.sweep import sweep
from tests.tiny_corpus import tiny_texts, write_corpus

TEACHER, ROWS = "a" * 64, 2
LATER = datetime.now(UTC) + timedelta(days=2)
VECTORS = np.ones((ROWS, 3), np.float32)


@pytest.fixture
def parts(local_store: ObjectStore) -> list[Part]:
    return parts_of(write_corpus(local_store, tiny_texts(8), shard_rows=4), ROWS)


def commit(store: ObjectStore, part: Part, failures: dict[int, str] | None = None) -> str:
    """Commit a part; the key of its data."""
    commit = write_part(store, TEACHER, part, ["a", "b"], VECTORS, failures or {}, tokens=1, requests=1, seconds=1.0)
    assert commit is not None
    return commit.file


def leave_data(store: ObjectStore, part: Part, attempt: str = "dead") -> str:
    """What a worker killed before its commit leaves behind."""
    key = layout.part_data(TEACHER, part.shard.sha256, part.index, attempt)
    store.put(key, b"vectors")
    return key


def leave_micro(store: ObjectStore, part: Part) -> str:
    return write_micro_part(store, TEACHER, part, "dead", MicroPart([0], VECTORS[:1], {}, Spent()))


def files(store: ObjectStore) -> set[str]:
    listed = [*store.list(layout.parts_data(TEACHER)), *store.list(layout.parts_micro(TEACHER))]
    return {info.key for info in listed}


def test_what_dead_attempts_left_of_a_finished_part_goes_at_once(local_store: ObjectStore, parts: list[Part]) -> None:
    kept = {commit(local_store, part) for part in parts[:3]}
    leave_data(local_store, parts[0], "dead")
    leave_data(local_store, parts[0], "dead-too")
    leave_micro(local_store, parts[1])
    assert sweep(local_store, TEACHER) == 3
    assert files(local_store) == kept
    assert sweep(local_store, TEACHER) == 0


def test_a_part_that_may_still_be_committed_keeps_its_young_files(local_store: ObjectStore, parts: list[Part]) -> None:
    kept = {commit(local_store, parts[0], {1: "HTTP 400"}), leave_data(local_store, parts[0])}
    kept |= {leave_micro(local_store, parts[0]), leave_data(local_store, parts[1]), leave_micro(local_store, parts[1])}
    assert sweep(local_store, TEACHER) == 0
    assert files(local_store) == kept


def test_after_a_day_only_what_is_committed_or_paid_for_and_unread_stays(local_store: ObjectStore, parts: list[Part]) -> None:
    kept = {commit(local_store, parts[0], {1: "HTTP 400"}), leave_micro(local_store, parts[1])}
    leave_data(local_store, parts[0])
    leave_micro(local_store, parts[0])
    leave_data(local_store, parts[1])
    assert sweep(local_store, TEACHER, now=LATER) == 3
    assert files(local_store) == kept


def test_a_part_committed_while_the_sweep_lists_is_left_alone(
    local_store: ObjectStore, parts: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, listing = leave_data(local_store, parts[0]), ObjectStore.list
    won: list[str] = []

    def overtaken(self: ObjectStore, prefix: str = "") -> object:
        if prefix == layout.part_commits(TEACHER) and not won:
            won.append(commit(local_store, parts[0]))
        return listing(self, prefix)

    monkeypatch.setattr(ObjectStore, "list", overtaken)
    sweep(local_store, TEACHER)
    sweep(local_store, TEACHER)
    assert files(local_store) == set(won)
    assert lost not in won


def test_storage_that_lets_nobody_delete_does_not_end_a_harvest(
    local_store: ObjectStore, parts: list[Part], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commit(local_store, parts[0])
    leave_data(local_store, parts[0])

    def refuse(self: ObjectStore, key: str) -> None:
        raise StorageError(f"cannot delete {key}: access was refused")

    monkeypatch.setattr(ObjectStore, "delete", refuse)
    assert sweep(local_store, TEACHER) == 0
    assert "access was refused" in caplog.text
