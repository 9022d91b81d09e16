from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mtd_ray import layout
from mtd_ray.config import teacher_fingerprint
from mtd_ray.corpus import Manifest, Shard
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import TargetStore, parts_of, pending_parts, write_part, write_teacher_description
from mtd_ray.targets.export import FORMATS, Format, export_targets
from tests.tiny_corpus import tiny_recipe, tiny_texts, write_corpus

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


@pytest.mark.parametrize("form", FORMATS)
def test_targets_are_exported_to_s3_and_again_only_what_changed(
    s3_store: ObjectStore, s3_env: dict[str, str], form: Format
) -> None:
    polars = pytest.importorskip("polars")
    recipe = tiny_recipe(s3_store, {"t": {"provider": "local", "model": "m", "dimensions": 8}}, part_rows=10)
    manifest = write_corpus(s3_store, tiny_texts(30), 20)
    teacher = teacher_fingerprint(recipe.teachers["t"])
    vectors = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32)
    write_teacher_description(s3_store, teacher, {}, 10)
    for part in parts_of(manifest, 10):
        rows = range(20 * part.shard.index + part.start, 20 * part.shard.index + part.stop)
        write_part(s3_store, teacher, part, [f"t{row}" for row in rows], vectors[list(rows)], {}, tokens=1, requests=1, seconds=0.1)

    counts = [next(iter(export_targets(s3_store, recipe, manifest, s3_store.child("out"), form))).written for _ in range(2)]

    assert counts == [2, 0]
    options = {name.lower(): value for name, value in s3_env.items()} | {"aws_allow_http": "true"}
    read, files = (polars.read_delta, "") if form == "delta" else (polars.read_parquet, "/*.parquet")
    found = read(f"{s3_store.url}/out/t{files}", storage_options=options).sort("id").to_dicts()
    assert len(found) == 30
    np.testing.assert_array_equal([row["vector"] for row in found if row["id"] == "t7"], vectors[7:8].astype(np.float16))
