from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray.config.evaluate import OwnTask
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.tasks import named_tasks, own_tasks
from mtd_ray.objects import ObjectStore

ROWS = pa.table({"sentence1": ["a", "b", "c"], "sentence2": ["d", "e", "f"], "score": [1.0, 2.0, 3.0]})


def _put(store: ObjectStore, key: str, rows: pa.Table = ROWS) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    store.put(key, sink.getvalue().to_pybytes())


def test_tasks_are_read_from_s3(s3_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path))
    _put(s3_store, "data/STSBenchmark/test.parquet")
    _put(s3_store, "mine/data/test-00000-of-00001.parquet")
    similar, found = named_tasks(["STSBenchmark", "SciFact"], [], f"{s3_store.url}/data/", s3_store)
    (mine,) = own_tasks({"mine": OwnTask(type="sts", path=f"{s3_store.url}/mine/")}, s3_store)
    assert found.folder is None, "a task without a folder comes from the hub"
    for task in (similar, mine):
        assert task.open(s3_store).dataset["test"]["score"] == [1.0, 2.0, 3.0]


def test_objects_are_known_without_being_read(s3_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ObjectStore, "download", lambda *_: pytest.fail("downloaded"))
    own = {"mine": OwnTask(type="sts", path=f"{s3_store.url}/mine")}
    _put(s3_store, "mine/test.parquet")
    (first,), (again,) = own_tasks(own, s3_store), own_tasks(own, s3_store)
    _put(s3_store, "mine/test.parquet", ROWS.slice(1))
    (changed,) = own_tasks(own, s3_store)
    assert first.identity == again.identity != changed.identity


def test_a_prefix_without_files_is_named(s3_store: ObjectStore) -> None:
    with pytest.raises(EvaluationError, match=r"s3://.*/nothing holds no file that ends in \.parquet"):
        own_tasks({"mine": OwnTask(type="sts", path=f"{s3_store.url}/nothing")}, s3_store)
