from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mtd_ray import layout
from mtd_ray.corpus import Manifest, Shard
from mtd_ray.errors import StorageError, TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import (
    Part,
    PartCommit,
    committed_parts,
    parts_of,
    pending_parts,
    write_part,
    write_teacher_description,
)

TEACHER = "a" * 64
COST: Any = {"tokens": 10, "requests": 2, "seconds": 0.5}


def _write(store: ObjectStore, part: Part, ids: list[str], vectors: npt.NDArray[np.float32]) -> PartCommit | None:
    return write_part(store, TEACHER, part, ids[part.start : part.stop], vectors[part.start : part.stop], {}, **COST)


def _data_files(store: ObjectStore) -> list[str]:
    return [info.key for info in store.list(layout.teacher(TEACHER)) if "/data/" in info.key]


def test_parts_cover_every_row_once(manifest: Manifest) -> None:
    parts = parts_of(manifest, 10)
    assert [(part.shard.index, part.index, part.start, part.stop) for part in parts] == [
        (0, 0, 0, 10),
        (0, 1, 10, 20),
        (0, 2, 20, 25),
        (1, 0, 0, 7),
    ]


def test_what_is_committed_is_no_longer_pending(
    local_store: ObjectStore, manifest: Manifest, ids: list[str], vectors: npt.NDArray[np.float32]
) -> None:
    first, second, *rest = parts_of(manifest, 10)
    assert pending_parts(local_store, TEACHER, manifest, 10) == [first, second, *rest]
    commit = _write(local_store, second, ids, vectors)
    assert commit is not None
    assert (commit.rows, commit.part_start, commit.part_stop, commit.failed_rows, commit.tokens) == (10, 10, 20, 0, 10)
    assert pending_parts(local_store, TEACHER, manifest, 10) == [first, *rest]
    key = committed_parts(local_store, TEACHER)[layout.short(manifest.shards[0].sha256), 1]
    assert PartCommit.from_json(local_store.get(key)) == commit


def test_the_second_of_two_attempts_leaves_nothing(
    local_store: ObjectStore, manifest: Manifest, ids: list[str], vectors: npt.NDArray[np.float32]
) -> None:
    part = parts_of(manifest, 10)[0]
    won = _write(local_store, part, ids, vectors)
    assert _write(local_store, part, ids, vectors * 2) is None
    assert won is not None
    assert _data_files(local_store) == [won.file]


def test_many_attempts_at_once_make_one_commit(
    local_store: ObjectStore, manifest: Manifest, ids: list[str], vectors: npt.NDArray[np.float32]
) -> None:
    part, barrier, commits = parts_of(manifest, 10)[0], threading.Barrier(8), list[PartCommit | None]()

    def attempt() -> None:
        barrier.wait()
        commits.append(_write(local_store, part, ids, vectors))

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    won = [commit for commit in commits if commit is not None]
    assert len(commits) == 8
    assert len(won) == 1
    assert _data_files(local_store) == [won[0].file]


def test_a_create_whose_answer_was_lost_is_recognised_as_ones_own(
    local_store: ObjectStore,
    manifest: Manifest,
    ids: list[str],
    vectors: npt.NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = ObjectStore.create
    monkeypatch.setattr(ObjectStore, "create", lambda *args: real(*args) and real(*args))
    commit = _write(local_store, parts_of(manifest, 10)[0], ids, vectors)
    assert commit is not None
    assert _data_files(local_store) == [commit.file]


def test_bad_vectors_write_nothing(
    local_store: ObjectStore, manifest: Manifest, ids: list[str], vectors: npt.NDArray[np.float32]
) -> None:
    part = parts_of(manifest, 10)[0]
    vectors[3, 3] = np.nan
    with pytest.raises(TargetError, match="id0003"):
        _write(local_store, part, ids, vectors)
    with pytest.raises(TargetError, match="10 rows, 9 were given"):
        write_part(local_store, TEACHER, part, ids[:9], vectors[:9], {}, **COST)
    assert list(local_store.list()) == []


def test_a_store_that_refuses_the_data_has_no_commit(
    local_store: ObjectStore,
    manifest: Manifest,
    ids: list[str],
    vectors: npt.NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = parts_of(manifest, 10)[0]

    def refuse(*_: Any) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(ObjectStore, "put", refuse)
    with pytest.raises(StorageError, match="disk full"):
        _write(local_store, part, ids, vectors)
    assert committed_parts(local_store, TEACHER) == {}


def test_rows_per_part_are_those_of_the_first_harvest(local_store: ObjectStore, manifest: Manifest) -> None:
    assert write_teacher_description(local_store, TEACHER, {"model": "m"}, 10) == 10
    assert write_teacher_description(local_store, TEACHER, {"model": "m"}, 5) == 10
    assert pending_parts(local_store, TEACHER, manifest, 5) == parts_of(manifest, 10)


def test_appended_shards_leave_committed_parts_alone(
    local_store: ObjectStore, manifest: Manifest, ids: list[str], vectors: npt.NDArray[np.float32]
) -> None:
    for part in parts_of(Manifest("g", manifest.shards[:1], {}, {}), 10):
        _write(local_store, part, ids, vectors)
    grown = Manifest("h", (*manifest.shards, Shard(2, "k", 3, "d" * 64)), {}, {})
    assert [part.shard.index for part in pending_parts(local_store, TEACHER, grown, 10)] == [1, 2]
