from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtd_ray.embed.inputs import find_inputs
from mtd_ray.embed.options import EmbedOptions
from mtd_ray.embed.pieces import Piece, pieces_of
from mtd_ray.embed.reading import read_piece
from mtd_ray.errors import CorpusError
from mtd_ray.objects import ObjectStore

SMALL = EmbedOptions(piece_rows=10)


def table_of(rows: int) -> pa.Table:
    texts = [None if row == 3 else f"text {row}" for row in range(rows)]
    return pa.table({"id": pa.array(range(rows), pa.int32()), "text": texts, "tags": [[str(row)] for row in range(rows)]})


def pieces(path: Path | str, options: EmbedOptions = SMALL) -> list[Piece]:
    (found,) = find_inputs(str(path))
    return pieces_of(found, "state", options)


def rows_of(path: Path | str, options: EmbedOptions = SMALL) -> tuple[list[str | None], list[dict[str, object]]]:
    texts: list[str | None] = []
    rows: list[dict[str, object]] = []
    for piece in pieces(path, options):
        for found, columns in read_piece(piece, options):
            texts += found
            rows += columns.to_pylist()
    return texts, rows


@pytest.mark.parametrize("group", [1, 3, 7, 10, 64, 1000])
def test_every_row_stands_in_one_piece_whatever_the_row_groups(tmp_path: Path, group: int) -> None:
    table = table_of(64)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=group)
    texts, rows = rows_of(tmp_path / "a.parquet")
    assert texts == table["text"].to_pylist()
    assert rows == table.select(["id", "tags"]).to_pylist()
    longest = max(piece.rows for piece in pieces(tmp_path / "a.parquet"))
    assert longest < 3 * SMALL.piece_rows


def test_a_huge_row_group_is_read_a_few_times_and_not_often(tmp_path: Path) -> None:
    pq.write_table(table_of(10_000), tmp_path / "a.parquet")
    assert len(pieces(tmp_path / "a.parquet")) == 16


def test_long_rows_of_any_column_make_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtd_ray.embed.reading._BATCH_BYTES", 40_000)
    monkeypatch.setattr("mtd_ray.embed.reading._STEP_BYTES", 10_000)
    page = [str(row) * 1_000 for row in range(100)]
    pq.write_table(pa.table({"text": ["short"] * 100, "page": page}), tmp_path / "a.parquet", use_dictionary=False)
    (piece,) = pieces(tmp_path / "a.parquet", EmbedOptions(piece_rows=1_000))
    found = [columns for _, columns in read_piece(piece, SMALL)]
    assert max(columns.nbytes for columns in found) <= 50_000
    assert pa.concat_tables(found)["page"].to_pylist() == page


def test_a_file_without_rows_is_one_empty_piece(tmp_path: Path) -> None:
    pq.write_table(table_of(0), tmp_path / "a.parquet")
    (piece,) = pieces(tmp_path / "a.parquet")
    ((texts, columns),) = read_piece(piece, SMALL)
    assert (texts, columns.num_rows, columns.column_names) == ([], 0, ["id", "tags"])


def test_ranges_of_an_object_on_s3(s3_store: ObjectStore, tmp_path: Path) -> None:
    pq.write_table(table_of(64), tmp_path / "a.parquet", row_group_size=16)
    s3_store.upload(tmp_path / "a.parquet", "a.parquet")
    assert rows_of(f"{s3_store.url}/a.parquet") == rows_of(tmp_path / "a.parquet")


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_every_line_stands_in_one_piece_wherever_the_file_is_cut(tmp_path: Path, suffix: str) -> None:
    rows = [{"id": row, "text": "ü" * (row % 5), **({"extra": {"n": row}} if row > 20 else {})} for row in range(40)]
    data = b"\n".join(orjson.dumps(row) for row in rows) + b"\n\n"
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    (found,) = find_inputs(str(path))
    for size in (7, 31, 100, len(data)):
        edges = [*range(0, found.size, size), found.size] if suffix == "jsonl" else [0, found.size]
        spans = [Piece(found, "s", 1, n, len(edges), start, stop, 0) for n, (start, stop) in enumerate(pairwise(edges))]
        texts = [text for piece in spans for batch, _ in read_piece(piece, SMALL) for text in batch]
        assert texts == [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("lines", "tells"),
    [
        (b'{"text": 1}\n', "is int, not text"),
        (b'{"body": "x"}\n', "the text under 'text'"),
        (b'{"text": "x"}\n{"text"\n', "the line at byte 14 is not valid JSON"),
        (b'{"text": "x", "vector": 1}\n', "has 'vector' already"),
    ],
)
def test_lines_that_cannot_be_used_are_named(tmp_path: Path, lines: bytes, tells: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines)
    with pytest.raises(CorpusError, match=tells):
        rows_of(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("options", "tells"),
    [
        (EmbedOptions(text_column="body"), "no column 'body'; it has id, text, tags"),
        (EmbedOptions(text_column="id"), "holds int32, not text"),
        (EmbedOptions(columns=("url",)), "no column 'url'"),
        (EmbedOptions(vector_column="id"), "has a column 'id' already"),
    ],
)
def test_columns_are_checked_before_anything_is_embedded(tmp_path: Path, options: EmbedOptions, tells: str) -> None:
    pq.write_table(table_of(5), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=tells):
        pieces(tmp_path / "a.parquet", options)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(CorpusError, match=r"a\.parquet is not a readable Parquet file"):
        pieces(tmp_path / "a.parquet")
