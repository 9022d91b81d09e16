from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mtd_ray import layout
from mtd_ray.corpus import Manifest, Shard
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import TargetStore, parts_of, pending_parts, write_part, write_teacher_description

TEACHER = "c" * 64


def test_racing_writers_on_s3_make_one_commit_per_part(s3_store: ObjectStore) -> None:
    shard = Shard(0, "unused", 30, "d" * 64)
    manifest = Manifest("e" * 64, (shard,), {}, {})
    vectors = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32)
    ids = [str(row) for row in range(30)]
    write_teacher_description(s3_store, TEACHER, {"model": "m"}, 10)
    attempts = parts_of(manifest, 10) * 4

    with ThreadPoolExecutor(len(attempts)) as pool:
        commits = list(
            pool.map(
                lambda part: write_part(
                    s3_store,
                    TEACHER,
                    part,
                    ids[part.start : part.stop],
                    vectors[part.start : part.stop],
                    {},
                    tokens=1,
                    requests=1,
                    seconds=0.1,
                ),
                attempts,
            )
        )

    won = {commit.file for commit in commits if commit is not None}
    assert len(won) == 3
    assert {info.key for info in s3_store.list(layout.teacher(TEACHER)) if "/data/" in info.key} == won
    assert pending_parts(s3_store, TEACHER, manifest, 10) == []
    read, valid = TargetStore(s3_store, TEACHER, 10, 8).read_shard(shard, ids)
    assert valid.all()
    np.testing.assert_array_equal(read, vectors.astype(np.float16))
