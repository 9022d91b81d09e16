"""Reading a shard's targets again."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray import layout
from mtd_ray.corpus import Shard
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import TargetStore, encode_vectors, parts_of_shard, write_part, write_teacher_description
from mtd_ray.targets.audit import Audit, Norms, audit_shard
from mtd_ray.targets.digest import sha256, xxh3
from tests.tiny_corpus import tiny_texts, write_corpus

TEACHER = "b" * 64


@pytest.fixture
def shard(local_store: ObjectStore) -> Shard:
    """25 texts in three parts; row 12 has no vector, the others have vectors of length 3."""
    (shard,) = write_corpus(local_store, tiny_texts(25), 25).shards
    vectors = np.random.default_rng(0).standard_normal((25, 12)).astype(np.float32)
    vectors *= 3 / np.linalg.norm(vectors, axis=1, keepdims=True)
    write_teacher_description(local_store, TEACHER, {}, 10)
    for part in parts_of_shard(shard, 10):
        rows = slice(part.start, part.stop)
        ids = [f"t{row}" for row in range(part.start, part.stop)]
        failures = {2: "refused"} if part.index == 1 else {}
        write_part(local_store, TEACHER, part, ids, vectors[rows], failures, tokens=1, requests=1, seconds=0.1)
    return shard


def audited(store: ObjectStore, shard: Shard, pending: tuple[int, ...] = ()) -> Audit:
    return audit_shard(store, TargetStore(store, TEACHER, 10, 12), shard, pending)


def replace_data(store: ObjectStore, shard: Shard, part: int, data: bytes) -> None:
    """Put other data under a part's commit, with the digests it should have."""
    key = layout.part_commit(TEACHER, shard.sha256, part)
    commit = json.loads(store.get(key))
    store.put(commit["file"], data)
    store.put(key, json.dumps(commit | {"sha256": sha256(data), "xxh3": xxh3(data)}).encode())


def test_a_whole_shard_is_counted_and_measured(local_store: ObjectStore, shard: Shard) -> None:
    found = audited(local_store, shard)
    assert (found.parts, found.rows, found.failed_rows, found.problems) == (3, 25, 1, [])
    assert found.norms.count == 24
    assert (found.norms.least, found.norms.mean, found.norms.most) == pytest.approx((3, 3, 3), rel=1e-3)
    assert found.norms.deviation < 0.01


def test_every_damaged_part_is_named_and_the_others_are_read(local_store: ObjectStore, shard: Shard) -> None:
    commit = json.loads(local_store.get(layout.part_commit(TEACHER, shard.sha256, 0)))
    data = bytearray(local_store.get(commit["file"]))
    data[len(data) // 2] ^= 1
    local_store.put(commit["file"], bytes(data))
    local_store.delete(layout.part_commit(TEACHER, shard.sha256, 2))
    found = audited(local_store, shard)
    assert (found.parts, found.rows) == (1, 10)
    first, second = found.problems
    assert layout.part_commit(TEACHER, shard.sha256, 0) in first
    assert "Delete this commit and harvest again" in first
    assert "not committed" in second


def test_pending_parts_are_no_damage(local_store: ObjectStore, shard: Shard) -> None:
    local_store.delete(layout.part_commit(TEACHER, shard.sha256, 2))
    found = audited(local_store, shard, pending=(2,))
    assert (found.parts, found.problems) == (2, [])


def test_a_wrong_sha256_is_found_though_the_quick_digest_is_right(local_store: ObjectStore, shard: Shard) -> None:
    key = layout.part_commit(TEACHER, shard.sha256, 1)
    local_store.put(key, json.dumps(json.loads(local_store.get(key)) | {"sha256": "0" * 64}).encode())
    (problem,) = audited(local_store, shard).problems
    assert "sha256 differs" in problem
    TargetStore(local_store, TEACHER, 10, 12).read_shard(shard)


def test_vectors_that_no_writer_of_ours_would_store_are_found(local_store: ObjectStore, shard: Shard) -> None:
    vectors = np.ones((10, 12), np.float32)
    ids = [f"t{row}" for row in range(10)]
    table = pq.read_table(pa.BufferReader(encode_vectors(vectors, ids, {7: "x"})))
    table = table.set_column(2, "reason", pa.array([None] * 10, pa.string()))  # row 7: zeros, and no reason for them
    sink = io.BytesIO()
    pq.write_table(table, sink)
    replace_data(local_store, shard, 0, sink.getvalue())
    (problem,) = audited(local_store, shard).problems
    assert "vector of row 7 is zero" in problem


def test_a_commit_that_miscounts_its_failures_is_found(local_store: ObjectStore, shard: Shard) -> None:
    key = layout.part_commit(TEACHER, shard.sha256, 1)
    local_store.put(key, json.dumps(json.loads(local_store.get(key)) | {"failed_rows": 0}).encode())
    (problem,) = audited(local_store, shard).problems
    assert "1 of them failed" in problem


def test_texts_that_were_changed_are_a_problem_of_their_own(local_store: ObjectStore, shard: Shard) -> None:
    local_store.put(shard.key, b"not parquet")
    found = audited(local_store, shard)
    assert found.parts == 3
    (problem,) = found.problems
    assert shard.key in problem


def test_texts_that_are_gone_are_a_problem_of_their_own(local_store: ObjectStore, shard: Shard) -> None:
    local_store.delete(shard.key)
    found = audited(local_store, shard)
    assert found.parts == 3
    (problem,) = found.problems
    assert shard.key in problem


def test_norms_add_up() -> None:
    both = Norms(1, 3.0, 3.0, 3.0, 9.0) + Norms(1, 5.0, 5.0, 5.0, 25.0)
    assert (both.mean, both.deviation, both.least, both.most) == (4.0, 1.0, 3.0, 5.0)
    assert Norms().mean == Norms().deviation == 0.0
