from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mtd_ray.config import HuggingFaceSource, JsonlSource, ParquetSource
from mtd_ray.corpus.files import find_files
from mtd_ray.corpus.sources import read_huggingface, read_jsonl, read_parquet
from mtd_ray.errors import CorpusError
from mtd_ray.objects import ObjectStore
from tests.unit.corpus.conftest import WriteParquet


def _parquet(store: ObjectStore, path: str, **keys: Any) -> list[tuple[str | None, str]]:
    source = ParquetSource(format="parquet", path=path, **keys)
    return [(row.text, row.kind) for row in read_parquet(find_files(path, (".parquet",), store), source)]


def _jsonl(store: ObjectStore, path: Path, **keys: Any) -> list[tuple[str | None, str]]:
    source = JsonlSource(format="jsonl", path=str(path), **keys)
    return [(row.text, row.kind) for row in read_jsonl(find_files(str(path), (".jsonl", ".jsonl.gz"), store), source)]


def test_parquet_file_and_folder(local_store: ObjectStore, write_parquet: WriteParquet) -> None:
    second = write_parquet("in/b.parquet", text=["c", None])
    write_parquet("in/a/x.parquet", text=["a", "b"], other=[1, 2])
    write_parquet("in/ignored.txt", text=["no"])
    assert _parquet(local_store, second) == [("c", "passage"), (None, "passage")]
    folder = str(Path(second).parent)
    assert _parquet(local_store, folder, kind="sentence") == [
        ("a", "sentence"),
        ("b", "sentence"),
        ("c", "sentence"),
        (None, "sentence"),
    ]


def test_parquet_columns_may_be_named(local_store: ObjectStore, write_parquet: WriteParquet) -> None:
    kinds = pa.array(["query", "passage"]).dictionary_encode()
    path = write_parquet(body=pa.array(["a", "b"], pa.large_string()), what=kinds)
    assert _parquet(local_store, path, text_column="body", kind_column="what") == [("a", "query"), ("b", "passage")]


def test_parquet_without_the_column_names_what_there_is(local_store: ObjectStore, write_parquet: WriteParquet) -> None:
    path = write_parquet(texts=["a"], url=["b"])
    with pytest.raises(CorpusError, match=rf"{path} has no column 'text'; did you mean 'texts'\? It has texts, url"):
        _parquet(local_store, path)


def test_parquet_column_of_numbers(local_store: ObjectStore, write_parquet: WriteParquet) -> None:
    with pytest.raises(CorpusError, match="column 'text' holds int64, not text"):
        _parquet(local_store, write_parquet(text=[1, 2]))


def test_parquet_unknown_kind(local_store: ObjectStore, write_parquet: WriteParquet) -> None:
    path = write_parquet(text=["a", "b"], kind=["query", "document"])
    with pytest.raises(CorpusError, match=r"row 1: kind 'document' is not one of query, passage, sentence"):
        _parquet(local_store, path, kind_column="kind")


def test_corrupt_parquet_is_named(local_store: ObjectStore, write_parquet: WriteParquet) -> None:
    path = Path(write_parquet(text=[f"text {number}" for number in range(1000)]))
    whole = path.read_bytes()
    for damaged in (b"", b"not parquet", whole[:-100], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(CorpusError, match=rf"{path} is not a readable Parquet file"):
            _parquet(local_store, str(path))


def test_parquet_that_is_not_utf8(local_store: ObjectStore, write_parquet: WriteParquet) -> None:
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"caf\xe9"], pa.binary()).buffers())
    path = write_parquet(text=broken)
    with pytest.raises(CorpusError, match=f"{path} holds text that is not UTF-8"):
        _parquet(local_store, path)


@pytest.mark.parametrize("path", ["/no/such/place", "/no/such/file.parquet"])
def test_a_path_that_is_not_there(local_store: ObjectStore, path: str) -> None:
    with pytest.raises(CorpusError, match="there is no such file or folder"):
        _parquet(local_store, path)


def test_a_folder_without_texts(local_store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"holds no file that ends in \.parquet"):
        _parquet(local_store, str(tmp_path))


def test_jsonl_plain_and_zipped(local_store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"text": "é", "kind": "query"}\n\n  \n{"text": null, "kind": "passage"}', encoding="utf-8")
    with gzip.open(tmp_path / "a.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write('{"text": "zipped", "kind": "sentence", "more": [1]}\n')
    assert _jsonl(local_store, tmp_path, kind_column="kind") == [("zipped", "sentence"), ("é", "query"), (None, "passage")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "caf\xe9"}', "not UTF-8: byte 0xe9 at position 13"),
        (b'{"text": "half', "not valid JSON"),
        (b'["text"]', "a line must be a JSON object"),
        (b'{"txt": "a", "url": "b"}', r"there is no 'text'; did you mean 'txt'\? It has txt, url"),
        (b'{"text": 5}', "'text' is int, not text"),
        (b'{"text": ["a"]}', "'text' is list, not text"),
        (b'{"text": "\\ud800"}', "not valid JSON"),
    ],
)
def test_a_wrong_line_is_named(local_store: ObjectStore, tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n' + line + b"\n")
    with pytest.raises(CorpusError, match=rf"{path}:3: {message}"):
        _jsonl(local_store, path)


def test_a_damaged_zip_is_named(local_store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl.gz"
    whole = gzip.compress(b"".join(json.dumps({"text": f"{number} {number**7}"}).encode() + b"\n" for number in range(2000)))
    for damaged in (b"plain text", whole[:-200], whole[:200] + b"\0" * 50 + whole[250:]):
        path.write_bytes(damaged)
        with pytest.raises(CorpusError, match=rf"{path}( cannot be read after line|:\d+: not )"):
            _jsonl(local_store, path)


def test_huggingface_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    one = datasets.Dataset.from_dict({"text": ["a", "b"]})
    one.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": one, "dev": one.select([1])}).save_to_disk(tmp_path / "two")

    def read(folder: str, **keys: Any) -> list[tuple[str | None, str, str]]:
        source = HuggingFaceSource(format="huggingface", path=str(tmp_path / folder), **keys)
        return [(row.text, row.kind, row.where) for row in read_huggingface(source)]

    assert [row[:2] for row in read("one", kind="query")] == [("a", "query"), ("b", "query")]
    assert [row[0] for row in read("two", split="dev")] == ["b"]
    assert read("one")[1][2] == f"{tmp_path / 'one'} [train] row 1"
    with pytest.raises(CorpusError, match=r"no split 'test'; .*It has train, dev"):
        read("two", split="test")
    with pytest.raises(CorpusError, match=r"row 0: there is no 'body'; .*It has text"):
        read("one", text_column="body")


def test_huggingface_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CorpusError, match=r"pip install 'mtd-ray\[huggingface\]'"):
        list(read_huggingface(HuggingFaceSource(format="huggingface", path="some/data")))


def test_huggingface_folder_that_is_no_dataset(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    with pytest.raises(CorpusError, match="cannot be opened"):
        list(read_huggingface(HuggingFaceSource(format="huggingface", path=str(tmp_path))))
