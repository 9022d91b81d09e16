from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mtd_ray import layout
from mtd_ray.corpus import Manifest, Shard
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import TargetStore, parts_of, write_part, write_teacher_description

TEACHER = "b" * 64


@pytest.fixture
def harvested(local_store: ObjectStore, manifest: Manifest, ids: list[str], vectors: npt.NDArray[np.float32]) -> ObjectStore:
    write_teacher_description(local_store, TEACHER, {}, 10)
    for part in parts_of(manifest, 10)[:3]:
        rows = slice(part.start, part.stop)
        failures = {2: "refused"} if part.index == 1 else {}
        write_part(local_store, TEACHER, part, ids[rows], vectors[rows], failures, tokens=1, requests=1, seconds=0.1)
    return local_store


def _data_key(store: ObjectStore, part: int) -> str:
    return next(info.key for info in store.list(layout.teacher(TEACHER)) if "/data/" in info.key and f"/{part:05d}." in info.key)


def test_rows_come_back_in_corpus_order_with_failures_marked(
    harvested: ObjectStore, shard: Shard, ids: list[str], vectors: npt.NDArray[np.float32]
) -> None:
    read, valid = TargetStore(harvested, TEACHER, 10, 12).read_shard(shard, ids)
    assert list(np.flatnonzero(~valid)) == [12]
    np.testing.assert_array_equal(read[valid], vectors.astype(np.float16)[valid])
    assert not read[12].any()


def test_a_changed_recipe_does_not_misalign(harvested: ObjectStore, shard: Shard, vectors: npt.NDArray[np.float32]) -> None:
    read, _ = TargetStore(harvested, TEACHER, 7, 12).read_shard(shard)
    np.testing.assert_array_equal(read[20:], vectors.astype(np.float16)[20:])


def test_a_missing_part_is_named(harvested: ObjectStore, manifest: Manifest) -> None:
    with pytest.raises(TargetError, match=r"commit/.*/00000\.json.*shard 1, rows 0 to 7.*not committed"):
        TargetStore(harvested, TEACHER, 10, 12).read_shard(manifest.shards[1])


def test_a_damaged_file_is_found(harvested: ObjectStore, shard: Shard) -> None:
    key = _data_key(harvested, 1)
    data = bytearray(harvested.get(key))
    data[len(data) // 3] ^= 1
    harvested.put(key, bytes(data))
    with pytest.raises(TargetError, match=r"rows 10 to 20.*damaged.*harvest again"):
        TargetStore(harvested, TEACHER, 10, 12).read_shard(shard)


def test_a_lost_file_is_found(harvested: ObjectStore, shard: Shard) -> None:
    harvested.delete(_data_key(harvested, 0))
    with pytest.raises(TargetError, match="is gone"):
        TargetStore(harvested, TEACHER, 10, 12).read_shard(shard)


def test_a_damaged_commit_is_found(harvested: ObjectStore, shard: Shard) -> None:
    harvested.put(layout.part_commit(TEACHER, shard.sha256, 0), b"{")
    with pytest.raises(TargetError, match="damaged commit"):
        TargetStore(harvested, TEACHER, 10, 12).read_shard(shard)


def test_a_commit_of_another_part_is_found(harvested: ObjectStore, shard: Shard) -> None:
    other = harvested.get(layout.part_commit(TEACHER, shard.sha256, 1))
    harvested.put(layout.part_commit(TEACHER, shard.sha256, 0), other)
    with pytest.raises(TargetError, match="rows 10 to 20"):
        TargetStore(harvested, TEACHER, 10, 12).read_shard(shard)


def test_another_size_is_refused(harvested: ObjectStore, shard: Shard) -> None:
    with pytest.raises(TargetError, match=r"\(10, 12\), not \(10, 13\)"):
        TargetStore(harvested, TEACHER, 10, 13).read_shard(shard)


def test_other_texts_are_found_by_their_ids(harvested: ObjectStore, shard: Shard, ids: list[str]) -> None:
    ids[11], ids[12] = ids[12], ids[11]
    with pytest.raises(TargetError, match="other texts"):
        TargetStore(harvested, TEACHER, 10, 12).read_shard(shard, ids)
