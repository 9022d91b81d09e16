"""Whole embeddings, with the pieces done in this process."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray.config import StudentConfig
from mtd_ray.embed import Embedded, EmbedOptions, embed_files
from mtd_ray.embed.pieces import Piece
from mtd_ray.embed.record import Record
from mtd_ray.embed.student import Student as Found
from mtd_ray.embed.student import find_student, open_encoder
from mtd_ray.embed.worker import PieceReceipt, PieceWorker
from mtd_ray.encoder import StudentEncoder
from mtd_ray.errors import MtdError
from mtd_ray.export import export_student
from mtd_ray.objects import ObjectStore
from mtd_ray.publish import publish_folder
from mtd_ray.student import Student
from tests.tiny_export import DEFAULT_HEAD, HEADS, PROMPTS, tiny_export
from tests.tiny_models import tiny_bert

OPTIONS = EmbedOptions(piece_rows=4)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_export(tmp_path_factory.mktemp("export") / "tiny", tmp_path_factory.mktemp("bert"))


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    for name, rows in (("a", 11), ("b", 3), ("deep/c", 0)):
        write(folder / f"{name}.parquet", rows, name)
    return folder


def write(path: Path, rows: int, name: str) -> None:
    texts = ["the same text" if row % 2 else f"text {row} of {name}" for row in range(rows)]
    table = pa.table({"id": pa.array([f"{name}-{row}" for row in range(rows)], pa.string()), "text": pa.array(texts, pa.string())})
    pq.write_table(table, path, row_group_size=3)


class Done:
    """Does pieces here, and remembers which."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.pieces: list[Piece] = []
        self._stop_after = stop_after

    def __call__(self, pieces: Sequence[Piece], record: Record, student: Found, options: EmbedOptions) -> Iterator[PieceReceipt]:
        worker = PieceWorker(record, student, options)
        for piece in pieces:
            if len(self.pieces) == self._stop_after:
                raise KeyboardInterrupt
            self.pieces.append(piece)
            yield worker.embed(piece)


def embed(
    student: Path | str, texts: Path | str, to: Path | str, options: EmbedOptions = OPTIONS, do: Done | None = None
) -> Embedded:
    return embed_files(str(student), str(texts), str(to), options, do=do or Done())


def expected(student: Path, path: Path, size: int, prompt: str = "") -> np.ndarray:
    return StudentEncoder.load(student).encode(pq.read_table(path)["text"].to_pylist(), heads=[size], prompt=prompt)[size]


def vectors(path: Path) -> np.ndarray:
    return np.array(pq.read_table(path)["vector"].to_pylist(), np.float32)


@pytest.mark.parametrize(("size", "head"), [(None, DEFAULT_HEAD), (HEADS[0], HEADS[0])])
def test_every_row_comes_back_in_its_order_with_its_vector(
    student: Path, docs: Path, tmp_path: Path, size: int | None, head: int
) -> None:
    found = embed(student, docs, tmp_path / "out", replace(OPTIONS, size=size))
    assert (found.rows, found.failed_rows, found.written, len(found.done)) == (14, 0, 3, 3)
    for name in ("a", "b", "deep/c"):
        table, before = pq.read_table(tmp_path / f"out/{name}.parquet"), pq.read_table(docs / f"{name}.parquet")
        assert table.drop("vector").equals(before.drop("text"))
        assert table.schema.field("vector").type == pa.list_(pa.field("element", pa.float32()), head)
    np.testing.assert_allclose(vectors(tmp_path / "out/a.parquet"), expected(student, docs / "a.parquet", head), atol=1e-5)
    assert list(ObjectStore(str(tmp_path)).list("out.embed/pieces")) == []


def test_the_second_run_does_nothing_and_a_changed_or_added_file_only_itself(student: Path, docs: Path, tmp_path: Path) -> None:
    embed(student, docs, tmp_path / "out")
    again = Done()
    assert embed(student, docs, tmp_path / "out", do=again).written == 0
    assert again.pieces == []
    write(docs / "b.parquet", 5, "new")
    write(docs / "d.parquet", 2, "d")
    changed = Done()
    found = embed(student, docs, tmp_path / "out", do=changed)
    assert (found.rows, found.written) == (18, 2)
    assert {piece.input.name for piece in changed.pieces} == {"b", "d"}
    np.testing.assert_allclose(vectors(tmp_path / "out/b.parquet"), expected(student, docs / "b.parquet", DEFAULT_HEAD), atol=1e-5)
    (tmp_path / "out/a.parquet").unlink()
    assert embed(student, docs, tmp_path / "out").written == 1


@pytest.mark.parametrize("after", [1, 2, 3])
def test_what_was_committed_before_an_interruption_is_not_done_again(student: Path, docs: Path, tmp_path: Path, after: int) -> None:
    before, rest = Done(stop_after=after), Done()
    with pytest.raises(KeyboardInterrupt):
        embed(student, docs, tmp_path / "out", do=before)
    embed(student, docs, tmp_path / "out", do=rest)
    places = [(piece.input.name, piece.number) for piece in before.pieces + rest.pieces]
    assert sorted(places) == [("a", 0), ("a", 1), ("b", 0), ("deep/c", 0)]
    np.testing.assert_allclose(vectors(tmp_path / "out/a.parquet"), expected(student, docs / "a.parquet", DEFAULT_HEAD), atol=1e-5)


def test_a_file_whose_pieces_are_all_there_is_put_together(
    student: Path, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed, pytest.raises(MtdError, match="not put together"):
        killed.setattr("mtd_ray.embed.worker.assemble", lambda *_: None)
        embed(student, docs, tmp_path / "out")
    last = Done()
    embed(student, docs, tmp_path / "out", do=last)
    assert len(last.pieces) == 3
    assert len(vectors(tmp_path / "out/a.parquet")) == 11


@pytest.mark.parametrize(
    ("change", "tells"),
    [
        ({"size": HEADS[0]}, "size"),
        ({"dtype": "int8"}, "dtype"),
        ({"prompt_name": "query"}, "prompt"),
        ({"columns": ("id",)}, "columns"),
    ],
)
def test_one_place_holds_one_kind_of_vectors(
    student: Path, docs: Path, tmp_path: Path, change: dict[str, object], tells: str
) -> None:
    embed(student, docs, tmp_path / "out")
    with pytest.raises(MtdError, match=rf"holds other vectors \({tells} differs\)"):
        embed(student, docs, tmp_path / "out", replace(OPTIONS, **change))  # type: ignore[arg-type]


def test_nothing_that_is_not_ours_is_written_over(student: Path, docs: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a.parquet").write_bytes(b"mine")
    with pytest.raises(MtdError, match="no record of what it holds"):
        embed(student, docs, tmp_path / "full")
    embed(student, docs, tmp_path / "out")
    (tmp_path / "other").mkdir()
    write(tmp_path / "other/a.parquet", 2, "x")
    with pytest.raises(MtdError, match=r"holds the vectors of .*docs/a\.parquet, not of .*other/a\.parquet"):
        embed(student, tmp_path / "other", tmp_path / "out")


def test_a_file_under_a_second_name_is_refused(student: Path, docs: Path, tmp_path: Path) -> None:
    embed(student, docs / "deep/*.parquet", tmp_path / "out")
    for rows in (0, 2):  # the file as it was, but for its time; and another
        write(docs / "deep/c.parquet", rows, "c")
        with pytest.raises(MtdError, match=r"c\.parquet is in .*out/c\.parquet already, and would be in deep/c\.parquet a second"):
            embed(student, docs / "**/*.parquet", tmp_path / "out")
    (tmp_path / "out/c.parquet").unlink()
    assert embed(student, docs / "**/*.parquet", tmp_path / "out").written == 3


def test_a_long_compressed_file_is_told_of(student: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = "\n".join(json.dumps({"text": os.urandom(500).hex()}) for _ in range(20))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    embed(student, tmp_path / "a.jsonl.gz", tmp_path / "out", replace(OPTIONS, piece_rows=100))
    assert "compressed file" not in caplog.text
    embed(student, tmp_path / "a.jsonl.gz", tmp_path / "more", replace(OPTIONS, piece_rows=4))
    assert "1 compressed file can only be read from the beginning" in caplog.text


def test_an_output_among_the_inputs_is_no_input(student: Path, docs: Path) -> None:
    for written in (3, 0):
        found = embed(student, docs, docs / "vectors")
        assert (len(found.done), found.written) == (3, written)


def test_a_row_without_text_has_no_vector_and_is_told(student: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["one", None, "", "four", "five", None]}), tmp_path / "a.parquet", row_group_size=2)
    found = embed(student, tmp_path / "a.parquet", tmp_path / "out")
    assert [row is None for row in pq.read_table(tmp_path / "out/a.parquet")["vector"].to_pylist()] == [
        False,
        True,
        False,
        False,
        False,
        True,
    ]
    assert (found.failed_rows, len(found.done["a"].reasons)) == (2, 2)
    assert "row 5: there is no text" in str(found)


def test_of_rows_without_text_the_count_and_the_first_are_kept(student: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([None, "x"] * 20)}), tmp_path / "a.parquet")
    done = embed(student, tmp_path / "a.parquet", tmp_path / "out", replace(OPTIONS, piece_rows=10)).done["a"]
    assert (done.failed_rows, list(done.reasons)) == (20, ["0", "2", "4", "6", "8"])


def test_prompts_of_queries_and_by_name(student: Path, docs: Path, tmp_path: Path) -> None:
    for name, options in (("type", replace(OPTIONS, input_type="query")), ("name", replace(OPTIONS, prompt_name="query"))):
        embed(student, docs, tmp_path / name, options)
        wanted = expected(student, docs / "b.parquet", DEFAULT_HEAD, PROMPTS["query"])
        np.testing.assert_allclose(vectors(tmp_path / name / "b.parquet"), wanted, atol=1e-5)
    with pytest.raises(MtdError, match="no prompt 'qery'; it has query"):
        embed(student, docs, tmp_path / "x", replace(OPTIONS, prompt_name="qery"))
    with pytest.raises(MtdError, match="no vectors of 17 numbers; it has 16, 48"):
        embed(student, docs, tmp_path / "x", replace(OPTIONS, size=17))


def test_a_size_between_nested_heads_is_cut_from_the_next_larger(docs: Path, tmp_path: Path) -> None:
    shape = {"heads": HEADS, "default_head": HEADS[0], "matryoshka": "nested", "max_tokens": 32}
    nested = tmp_path / "nested"
    export_student(Student.build(StudentConfig(model=tiny_bert(tmp_path / "bert"), **shape), seed=1), nested, card=None)
    for size in (7, 30):
        embed(nested, docs / "b.parquet", tmp_path / f"{size}", replace(OPTIONS, size=size))
        wanted = expected(nested, docs / "b.parquet", HEADS[1])[:, :size]
        np.testing.assert_allclose(vectors(tmp_path / f"{size}/b.parquet"), wanted, atol=1e-5)


def test_columns_of_any_type_come_back_as_they_were(student: Path, tmp_path: Path) -> None:
    day = datetime(2026, 11, 23, 12, tzinfo=UTC)
    table = pa.table(
        {
            "text": pa.array(["one", "two", "one"]).dictionary_encode(),
            "category": pa.array(["x", None, "x"]).dictionary_encode(),
            "long": pa.array(["a", "b", "c"], pa.large_string()),
            "day": pa.array([day] * 3, pa.timestamp("us", "UTC")),
            "price": pa.array([Decimal("1.50"), None, Decimal("2.00")], pa.decimal128(9, 2)),
            "nested": [{"a": [1, 2], "b": None}, None, {"a": [], "b": {"c": "d"}}],
            "bytes": [b"\x00", b"", None],
            "nothing": pa.nulls(3),
        }
    ).replace_schema_metadata({"pandas": "{}"})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    embed(student, tmp_path / "a.parquet", tmp_path / "out", replace(OPTIONS, piece_rows=2))
    found = pq.read_table(tmp_path / "out/a.parquet").drop("vector")
    assert found.to_pylist() == table.drop("text").to_pylist()
    assert found.schema.equals(pq.read_schema(tmp_path / "a.parquet").remove(0))


def test_json_lines_with_fields_that_come_and_go(student: Path, tmp_path: Path) -> None:
    rows = [{"id": row, "text": f"text {row}"} | ({"url": "u"} if row == 9 else {}) for row in range(10)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    embed(student, tmp_path / "a.jsonl", tmp_path / "out", replace(OPTIONS, piece_rows=1))
    table = pq.read_table(tmp_path / "out/a.parquet")
    assert table.column_names == ["id", "url", "vector"]
    assert table["id"].to_pylist() == list(range(10))
    assert table["url"].to_pylist() == [None] * 9 + ["u"]


@pytest.mark.parametrize("piece_rows", [1, 100])
@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([2020, "2020", None, {"from": 1}], ["2020", "2020", None, '{"from":1}']),
        ([True, 1], ["true", "1"]),
        ([1, 0.5], [1.0, 0.5]),
        ([2**60 + 1, 0.5], [str(2**60 + 1), "0.5"]),
        ([2**63, -1], [str(2**63), "-1"]),
        ([{}, {}], [None, None]),
        ([{"a": {}, "b": 1}, {"a": {"c": []}}], [{"a": None, "b": 1}, {"a": {"c": []}, "b": None}]),
    ],
)
def test_json_fields_of_any_and_of_mixed_types_come_back(
    student: Path, tmp_path: Path, piece_rows: int, values: list[object], found: list[object]
) -> None:
    lines = [json.dumps({"text": "x" * 2_000, "field": value}) for value in values]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    embed(student, tmp_path / "a.jsonl", tmp_path / "out", replace(OPTIONS, piece_rows=piece_rows))
    assert pq.read_table(tmp_path / "out/a.parquet")["field"].to_pylist() == found


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_other_tools_read_the_vectors(student: Path, docs: Path, tmp_path: Path, dtype: str) -> None:
    embed(student, docs, tmp_path / "out", replace(OPTIONS, dtype=dtype))  # type: ignore[arg-type]
    wanted = pq.read_table(tmp_path / "out/a.parquet")["vector"].to_pylist()
    found = duckdb.sql(f"select vector from '{tmp_path}/out/a.parquet'").fetchall()
    np.testing.assert_allclose(np.array([row for (row,) in found], np.float32), np.array(wanted, np.float32))
    frame = polars.scan_parquet(tmp_path / "out").collect()
    assert frame.height == 14
    assert frame.schema["vector"].shape == (DEFAULT_HEAD,)  # type: ignore[attr-defined]


def test_from_s3_to_s3(student: Path, docs: Path, tmp_path: Path, s3_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTD_RAY_CACHE", str(tmp_path / "cache"))
    s3_store.upload_folder(docs, "docs")
    publish_folder(s3_store, student, "runs/one/student")
    for place in ("runs/one", "runs/one/student"):
        found = embed(f"{s3_store.url}/{place}", f"{s3_store.url}/docs/*.parquet", f"{s3_store.url}/vectors")
        assert found.rows == 14
    s3_store.download_folder("vectors", tmp_path / "out")
    np.testing.assert_allclose(vectors(tmp_path / "out/a.parquet"), expected(student, docs / "a.parquet", DEFAULT_HEAD), atol=1e-5)


def test_a_file_that_changes_meanwhile_is_not_embedded_half_and_half(student: Path, docs: Path, tmp_path: Path) -> None:
    class Changing(Done):
        def __call__(self, pieces: Sequence[Piece], *rest: object) -> Iterator[PieceReceipt]:
            os.utime(docs / "a.parquet", ns=(1, 1))
            return super().__call__(pieces, *rest)  # type: ignore[arg-type]

    with pytest.raises(MtdError, match=r"a\.parquet changed while it was embedded"):
        embed(student, docs, tmp_path / "out", do=Changing())
    assert not (tmp_path / "out/a.parquet").exists()
    embed(student, docs, tmp_path / "out")


def test_a_worker_that_asked_for_no_gpu_computes_on_the_cpu(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sees its machine's GPUs all the same."""
    found = find_student(str(student), OPTIONS)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert open_encoder(found, OPTIONS).device.type == "cpu"
