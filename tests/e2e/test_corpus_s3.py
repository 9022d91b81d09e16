from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray.config import Recipe
from mtd_ray.corpus import build_corpus, load_manifest, read_shard
from mtd_ray.errors import CorpusError, StorageError
from mtd_ray.objects import ObjectStore


def _recipe(source: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "small",
            "storage": "s3://unused",
            "corpus": {"source": source},
            "teachers": {"t": {"provider": "local", "model": "m", "dimensions": 4}},
            "student": {"model": "m", "heads": (4,)},
            "stages": ({"name": "s", "heads": {4: {"cosine": 1.0}}, "lr": 1e-3, "steps": 1, "batch_size": 2},),
        }
    )


def _put_parquet(store: ObjectStore, key: str, texts: list[str]) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": texts}), sink)
    store.put(key, sink.getvalue().to_pybytes())


def _texts(store: ObjectStore, recipe: Recipe) -> list[str]:
    return [text for shard in build_corpus(store, recipe).shards for text in read_shard(store, shard).column("text").to_pylist()]


def test_texts_come_from_s3_and_go_to_s3(s3_store: ObjectStore) -> None:
    _put_parquet(s3_store, "in/b.parquet", ["b1", "b2"])
    _put_parquet(s3_store, "in/deep/a.parquet", ["a"])
    _put_parquet(s3_store, "in-other/c.parquet", ["not these"])
    s3_store.put("in/lines.jsonl.gz", gzip.compress(b'{"text": "line"}\n'))
    out = s3_store.child("out")
    assert _texts(out, _recipe({"format": "parquet", "path": f"{s3_store.url}/in"})) == ["b1", "b2", "a"]
    assert _texts(out, _recipe({"format": "parquet", "path": f"{s3_store.url}/in/deep/a.parquet"})) == ["a"]
    assert _texts(out, _recipe({"format": "jsonl", "path": f"{s3_store.url}/in/"})) == ["line"]


def test_a_source_that_is_not_there(s3_store: ObjectStore) -> None:
    with pytest.raises(CorpusError, match=r"holds no file that ends in \.parquet"):
        build_corpus(s3_store, _recipe({"format": "parquet", "path": f"{s3_store.url}/nothing"}))
    with pytest.raises(StorageError, match="the bucket does not exist"):
        build_corpus(s3_store, _recipe({"format": "parquet", "path": "s3://no-such-bucket/texts"}))
    assert list(s3_store.list()) == []


def test_a_corrupt_object_is_named(s3_store: ObjectStore) -> None:
    s3_store.put("in/x.parquet", b"PAR1 no")
    recipe = _recipe({"format": "parquet", "path": f"{s3_store.url}/in"})
    with pytest.raises(CorpusError, match=rf"{s3_store.url}/in/x\.parquet is not a readable Parquet file"):
        build_corpus(s3_store, recipe)
    assert [info.key for info in s3_store.list()] == ["in/x.parquet"]


@pytest.mark.usefixtures("s3_env")
def test_a_missing_bucket_or_an_unreachable_store_is_found_before_any_work(tmp_path: Path) -> None:
    recipe = _recipe({"format": "parquet", "path": str(tmp_path / "never-read")})
    with pytest.raises(StorageError, match="the bucket does not exist"):
        build_corpus(ObjectStore("s3://no-such-bucket/x"), recipe)
    with pytest.raises(StorageError, match="cannot be reached"):
        build_corpus(ObjectStore("s3://mtd-ray/x", endpoint="http://127.0.0.1:9"), recipe)


def test_both_builders_of_one_corpus_agree(s3_store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(f'{{"text": "text {number}"}}\n' for number in range(100)))
    recipe = _recipe({"format": "jsonl", "path": str(path)})
    assert build_corpus(s3_store, recipe) == build_corpus(s3_store, recipe) == load_manifest(s3_store, recipe)
