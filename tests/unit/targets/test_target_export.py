"""Targets as tables that other tools read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mtd_ray import layout
from mtd_ray.config import Recipe, teacher_fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, parts_of, write_part, write_teacher_description
from mtd_ray.targets.export import FORMATS, Exported, Format, export_targets
from tests.tiny_corpus import tiny_recipe, tiny_texts, write_corpus

ROWS, SHARD_ROWS, PART_ROWS, SIZE = 50, 20, 8, 6
VECTORS = np.random.default_rng(0).standard_normal((ROWS, SIZE)).astype(np.float32)
FAILED = 21


def store_part(store: ObjectStore, recipe: Recipe, part: Part) -> None:
    first = SHARD_ROWS * part.shard.index
    rows = range(first + part.start, first + part.stop)
    failures = {row - rows.start: "refused" for row in rows if row == FAILED}
    write_part(
        store, teacher_fingerprint(recipe.teachers["t"]), part, [f"t{row}" for row in rows], VECTORS[list(rows)], failures,
        tokens=1, requests=1, seconds=0.1,
    )  # fmt: skip


@pytest.fixture
def run(local_store: ObjectStore) -> tuple[ObjectStore, Recipe, Manifest]:
    """Three shards; row 21 has no vector."""
    recipe = tiny_recipe(local_store, {"t": {"provider": "local", "model": "m", "dimensions": SIZE}}, part_rows=PART_ROWS)
    manifest = write_corpus(local_store, tiny_texts(ROWS), SHARD_ROWS)
    write_teacher_description(local_store, teacher_fingerprint(recipe.teachers["t"]), {}, PART_ROWS)
    for part in parts_of(manifest, PART_ROWS):
        store_part(local_store, recipe, part)
    return local_store, recipe, manifest


def export(run: tuple[ObjectStore, Recipe, Manifest], folder: Path, form: Format = "parquet", **options: Any) -> Exported:
    (exported,) = export_targets(*run, ObjectStore(str(folder)), form, **options)
    return exported


def assert_is_everything(rows: list[dict[str, Any]]) -> None:
    rows.sort(key=lambda row: int(row["id"][1:]))
    assert [row["id"] for row in rows] == [f"t{row}" for row in range(ROWS)]
    assert [row["shard"] for row in rows] == [row // SHARD_ROWS for row in range(ROWS)]
    assert {row["kind"] for row in rows} == {"passage"}
    assert [(row["id"], row["reason"]) for row in rows if row["vector"] is None] == [(f"t{FAILED}", "refused")]
    good = [row for row in range(ROWS) if row != FAILED]
    np.testing.assert_array_equal([rows[row]["vector"] for row in good], VECTORS[good].astype(np.float16))
    assert all(rows[row]["reason"] is None for row in good)


def test_duckdb_and_polars_read_the_parquet_files(run: tuple[ObjectStore, Recipe, Manifest], tmp_path: Path) -> None:
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    assert str(export(run, tmp_path)) == f"t: 50 rows in {tmp_path}/t"
    files = f"{tmp_path}/t/*.parquet"
    assert len(list(tmp_path.glob("t/*.parquet"))) == 3
    assert_is_everything(polars.read_parquet(files).to_dicts())
    found = duckdb.sql(f"select * from read_parquet('{files}')")
    assert_is_everything([dict(zip(found.columns, row, strict=True)) for row in found.fetchall()])
    file = pq.ParquetFile(tmp_path / "t" / "shard-00000.parquet")
    assert str(file.schema_arrow.field("vector").type) == "fixed_size_list<element: float>[6]"
    assert file.metadata.num_row_groups == 3


def test_polars_and_the_delta_library_read_the_delta_table(run: tuple[ObjectStore, Recipe, Manifest], tmp_path: Path) -> None:
    polars, deltalake = pytest.importorskip("polars"), pytest.importorskip("deltalake")
    export(run, tmp_path, "delta", with_text=True)
    rows = polars.read_delta(f"{tmp_path}/t").to_dicts()
    assert_is_everything(rows)
    assert [row["text"] for row in rows] == tiny_texts(ROWS)
    assert len(deltalake.DeltaTable(f"{tmp_path}/t").file_uris()) == 3


@pytest.mark.parametrize("form", FORMATS)
def test_again_it_writes_only_what_changed(run: tuple[ObjectStore, Recipe, Manifest], tmp_path: Path, form: Format) -> None:
    polars = pytest.importorskip("polars")
    pytest.importorskip("deltalake")
    store, recipe, manifest = run
    assert (export(run, tmp_path, form).written, export(run, tmp_path, form).written) == (3, 0)
    part = parts_of(manifest, PART_ROWS)[4]
    store.delete(layout.part_commit(teacher_fingerprint(recipe.teachers["t"]), part.shard.sha256, part.index))
    VECTORS[SHARD_ROWS + part.start] *= -1
    try:
        store_part(store, recipe, part)
        again = export(run, tmp_path, form)
        assert (again.written, again.unchanged) == (1, 2)
        read = polars.read_delta if form == "delta" else polars.read_parquet
        assert_is_everything(read(f"{tmp_path}/t").to_dicts())
    finally:
        VECTORS[SHARD_ROWS + part.start] *= -1


@pytest.mark.parametrize("form", FORMATS)
def test_shards_of_a_longer_corpus_are_taken_out(run: tuple[ObjectStore, Recipe, Manifest], tmp_path: Path, form: Format) -> None:
    polars = pytest.importorskip("polars")
    pytest.importorskip("deltalake")
    store, recipe, manifest = run
    export(run, tmp_path, form)
    export((store, recipe, Manifest("c" * 64, manifest.shards[:1], {}, {})), tmp_path, form)
    read = polars.read_delta if form == "delta" else polars.read_parquet
    assert len(read(f"{tmp_path}/t")) == SHARD_ROWS


def test_an_unfinished_harvest_is_not_exported(run: tuple[ObjectStore, Recipe, Manifest], tmp_path: Path) -> None:
    store, recipe, manifest = run
    part = parts_of(manifest, PART_ROWS)[4]
    store.delete(layout.part_commit(teacher_fingerprint(recipe.teachers["t"]), part.shard.sha256, part.index))
    with pytest.raises(TargetError, match="1 parts are not harvested yet"):
        export(run, tmp_path)


def test_another_export_is_not_mixed_in_until_its_folder_is_deleted(
    run: tuple[ObjectStore, Recipe, Manifest], tmp_path: Path
) -> None:
    export(run, tmp_path)
    with pytest.raises(TargetError, match=f"{tmp_path}/t holds another export.*delete that folder and {tmp_path}/t.export.json"):
        export(run, tmp_path, with_text=True)
    shutil.rmtree(tmp_path / "t")
    assert export(run, tmp_path, with_text=True).written == 3


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("gone", ["everything", "one shard"])
def test_what_was_deleted_from_the_table_is_written_again(
    run: tuple[ObjectStore, Recipe, Manifest], tmp_path: Path, form: Format, gone: str
) -> None:
    polars = pytest.importorskip("polars")
    pytest.importorskip("deltalake")
    export(run, tmp_path, form)
    if gone == "everything":
        shutil.rmtree(tmp_path / "t")
    else:
        (one,) = tmp_path.glob("t/shard-00001.parquet" if form == "parquet" else "t/shard=1/*.parquet")
        one.unlink()
    assert export(run, tmp_path, form).written == (3 if gone == "everything" else 1)
    read = polars.read_delta if form == "delta" else polars.read_parquet
    assert_is_everything(read(f"{tmp_path}/t").to_dicts())


@pytest.mark.parametrize("harm", ["no record", "damaged"])
def test_a_folder_without_a_sound_record_is_left_alone(
    run: tuple[ObjectStore, Recipe, Manifest], tmp_path: Path, harm: str
) -> None:
    """Its shards may be another teacher's, or more than the corpus has."""
    export(run, tmp_path)
    record = tmp_path / "t.export.json"
    record.write_bytes(record.read_bytes()[:-9])
    if harm == "no record":
        record.unlink()
    with pytest.raises(TargetError, match=f"{tmp_path}/t is not empty, and .*{harm}.*delete that folder and {record}"):
        export(run, tmp_path)
    shutil.rmtree(tmp_path / "t")
    assert export(run, tmp_path).written == 3


@pytest.mark.parametrize("form", FORMATS)
def test_an_interrupted_export_goes_on_and_leaves_no_rows_of_another_corpus(
    run: tuple[ObjectStore, Recipe, Manifest], tmp_path: Path, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    polars = pytest.importorskip("polars")
    pytest.importorskip("deltalake")
    store, recipe, manifest = run
    put, records = ObjectStore.put, list[str]()

    def killed(self: ObjectStore, key: str, data: bytes) -> None:
        records.append(key)
        if len(records) == 4:  # the last shard's rows are in, its record is not
            raise KeyboardInterrupt
        put(self, key, data)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(ObjectStore, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            export(run, tmp_path, form)
    shorter = Manifest("c" * 64, manifest.shards[:2], {}, {})
    assert export((store, recipe, shorter), tmp_path, form).written == 0
    read = polars.read_delta if form == "delta" else polars.read_parquet
    assert sorted(set(read(f"{tmp_path}/t")["shard"])) == [0, 1]


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_targets_are_named_as_such(run: tuple[ObjectStore, Recipe, Manifest], tmp_path: Path, form: Format) -> None:
    pytest.importorskip("deltalake")
    store, recipe, _ = run
    fingerprint = teacher_fingerprint(recipe.teachers["t"])
    for info in list(store.list(layout.parts_data(fingerprint))):
        store.put(info.key, b"damaged")
    with pytest.raises(TargetError, match=r"is damaged .*Delete this commit and harvest again"):
        export(run, tmp_path, form)
