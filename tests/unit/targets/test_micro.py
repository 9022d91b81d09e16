from __future__ import annotations

import numpy as np
import pytest

from mtd_ray import layout
from mtd_ray.corpus import Manifest
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, PartCommit, committed_parts, decode_vectors, parts_of, write_part
from mtd_ray.targets.micro import MicroPart, Spent, list_micro_parts, read_micro_parts, reopen_part, write_micro_part
from tests.tiny_corpus import tiny_texts, write_corpus

TEACHER, DIM = "a" * 64, 3


@pytest.fixture
def part(local_store: ObjectStore) -> Part:
    manifest: Manifest = write_corpus(local_store, tiny_texts(4), shard_rows=4)
    return parts_of(manifest, 4)[0]


def vectors_of(*rows: int) -> np.ndarray:
    return np.array([[row + 1, 0.1, -2] for row in rows], np.float32)


def test_what_is_put_away_is_found_with_what_it_cost(local_store: ObjectStore, part: Part) -> None:
    spent = Spent(tokens=11, requests=2, rejected=1, usd=0.25, seconds=3.5)
    first = write_micro_part(local_store, TEACHER, part, "x", MicroPart([3, 1], vectors_of(3, 1), {}, spent))
    second = write_micro_part(local_store, TEACHER, part, "x", MicroPart([0], np.zeros((1, DIM), np.float32), {0: "no"}, Spent()))
    found = read_micro_parts(local_store, TEACHER, part, DIM)
    assert set(found) == {first, second}
    assert (found[first].rows, found[first].failures, found[first].spent) == ([3, 1], {}, spent)
    assert (found[second].rows, found[second].failures) == ([0], {0: "no"})
    np.testing.assert_array_equal(found[first].vectors, vectors_of(3, 1).astype(np.float16).astype(np.float32))


def test_costs_add_up() -> None:
    assert Spent(1, 2, 3, 0.5, 1.5) + Spent(10, 20, 30, 0.25, 1.0) == Spent(11, 22, 33, 0.75, 2.5)


@pytest.mark.parametrize("harm", ["a byte is flipped", "cut short", "another part's rows", "another size"])
def test_a_micro_part_that_is_not_what_it_says_is_left_out(
    local_store: ObjectStore, part: Part, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [1, 7] if harm == "another part's rows" else [1, 2]
    key = write_micro_part(local_store, TEACHER, part, "x", MicroPart(rows, vectors_of(*rows), {}, Spent()))
    good = write_micro_part(local_store, TEACHER, part, "x", MicroPart([0], vectors_of(0)[:, :2], {}, Spent()))
    data = bytearray(local_store.get(key))
    if harm == "a byte is flipped":
        data[len(data) // 3] ^= 1
    local_store.put(key, bytes(data[:-9] if harm == "cut short" else data))
    assert list(read_micro_parts(local_store, TEACHER, part, 2)) == [good]
    assert key in caplog.text


def commit_with_failures(store: ObjectStore, part: Part, *failed: int) -> PartCommit:
    vectors, failures = vectors_of(*range(4)), dict.fromkeys(failed, "HTTP 400")
    ids = [f"t{row}" for row in range(4)]
    commit = write_part(store, TEACHER, part, ids, vectors, failures, tokens=9, requests=3, seconds=2.0, usd=0.125)
    assert commit is not None
    return commit


def test_a_reopened_part_is_pending_and_keeps_its_good_rows(local_store: ObjectStore, part: Part) -> None:
    commit = commit_with_failures(local_store, part, 2)
    stale = write_micro_part(local_store, TEACHER, part, "x", MicroPart([2], vectors_of(2), {2: "HTTP 400"}, Spent(tokens=9)))
    reopen_part(local_store, TEACHER, part, commit)
    assert committed_parts(local_store, TEACHER) == {}
    ((key, kept),) = read_micro_parts(local_store, TEACHER, part, DIM).items()
    assert key != stale
    assert (kept.rows, kept.failures, kept.spent) == ([0, 1, 3], {}, Spent(9, 3, 0, 0.125, 2.0))
    np.testing.assert_array_equal(kept.vectors.astype(np.float16), decode_vectors(local_store.get(commit.file)).vectors[[0, 1, 3]])


def test_reopening_that_was_interrupted_counts_the_cost_once(
    local_store: ObjectStore, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = commit_with_failures(local_store, part, 0, 1, 2, 3)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(ObjectStore, "delete", lambda self, key: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            reopen_part(local_store, TEACHER, part, commit)
    assert len(committed_parts(local_store, TEACHER)) == 1
    assert len(list_micro_parts(local_store, TEACHER, part)) == 1
    reopen_part(local_store, TEACHER, part, commit)
    (kept,) = read_micro_parts(local_store, TEACHER, part, DIM).values()
    assert (kept.rows, kept.spent.tokens) == ([], 9)


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_a_part_whose_data_is_damaged_or_gone_is_not_reopened(local_store: ObjectStore, part: Part, harm: str) -> None:
    commit = commit_with_failures(local_store, part, 2)
    key = layout.part_commit(TEACHER, part.shard.sha256, part.index)
    local_store.put(commit.file, local_store.get(commit.file)[:-1])
    if harm == "gone":
        local_store.delete(commit.file)
    with pytest.raises(TargetError, match=f"is {harm}.*delete its commit {key}"):
        reopen_part(local_store, TEACHER, part, commit)
    assert local_store.exists(key)
