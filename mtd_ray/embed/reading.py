"""The rows of a piece: texts and the columns that come back, some megabytes at a time."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray.embed.columns import json_column
from mtd_ray.embed.options import EmbedOptions
from mtd_ray.embed.pieces import Piece, kept_columns
from mtd_ray.errors import CorpusError

# Enough texts for well-sorted batches; both together bound what is in memory, whatever the length of a row.
_BATCH_ROWS, _BATCH_BYTES = 8_192, 32 * 1024 * 1024
_STEP_ROWS, _STEP_BYTES = 512, _BATCH_BYTES // 8
_READ_BYTES = 8 * 1024 * 1024

Rows = tuple[list[str | None], pa.Table]
"""Texts, None where there is none; and the columns that come back."""


def read_piece(piece: Piece, options: EmbedOptions) -> Iterator[Rows]:
    """A piece's rows in the file's order.

    Raises:
        CorpusError: the file is damaged, has changed, or holds something that is no text; file and row are named.
        StorageError: it cannot be read.
    """
    yield from _parquet(piece, options) if piece.input.is_parquet else _lines(piece, options)
    piece.input.check()


def _parquet(piece: Piece, options: EmbedOptions) -> Iterator[Rows]:
    try:
        with piece.input.open() as file:
            parquet = pq.ParquetFile(file, buffer_size=_READ_BYTES)
            kept = kept_columns(parquet.schema_arrow.names, options)
            columns = list(dict.fromkeys([*kept, options.text_column]))
            schema = pa.schema([parquet.schema_arrow.field(name) for name in kept])
            for table in _gathered(_steps(parquet, columns, piece.start, piece.stop)):
                texts = table[options.text_column].cast(pa.string()).to_pylist()
                yield texts, table.select(kept).cast(schema)
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{piece.input.url} is not a readable Parquet file: {error}") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{piece.input.url} holds text that is not UTF-8: {error}") from None


def _steps(parquet: pq.ParquetFile, columns: list[str], start: int, stop: int) -> Iterator[pa.Table]:
    """Rows ``start`` to ``stop``, read from the row groups that hold them."""
    edges = [0]
    for group in range(parquet.num_row_groups):
        edges.append(edges[-1] + parquet.metadata.row_group(group).num_rows)
    groups = [group for group in range(parquet.num_row_groups) if edges[group] < stop and edges[group + 1] > start]
    if not groups:
        yield parquet.schema_arrow.empty_table().select(columns)
        return
    at = edges[groups[0]]
    for batch in parquet.iter_batches(_step_rows(parquet.metadata, groups, columns), row_groups=groups, columns=columns):
        wanted = batch.slice(max(0, start - at), max(0, min(stop, at + len(batch)) - max(start, at)))
        at += len(batch)
        if len(wanted):
            yield pa.Table.from_batches([wanted]).select(columns)
        if at >= stop:
            return


def _step_rows(about: pq.FileMetaData, groups: list[int], columns: list[str]) -> int:
    """As many rows as surely fit, by the mean length of those of the group that has the longest."""
    longest = 1
    for group in map(about.row_group, groups):
        chunks = (group.column(place) for place in range(group.num_columns))
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns)
        longest = max(longest, size // max(1, group.num_rows))
    return max(1, min(_STEP_ROWS, _STEP_BYTES // longest))


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        waiting.append(table)
        rows, size = rows + len(table), size + table.nbytes
        if rows >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield pa.concat_tables(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.concat_tables(waiting)


def _lines(piece: Piece, options: EmbedOptions) -> Iterator[Rows]:
    objects: list[dict[str, Any]] = []
    size, none = 0, True
    for where, line in _lines_of(piece):
        objects.append(_object(line, where, options))
        size += len(line)
        if len(objects) >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield _table(objects, piece, options)
            objects, size, none = [], 0, False
    if objects or none:
        yield _table(objects, piece, options)


def _lines_of(piece: Piece) -> Iterator[tuple[str, bytes]]:
    """Where each line is, and its bytes. A line belongs to the piece in which it begins."""
    url = piece.input.url
    try:
        with piece.input.open() as raw, _decoded(raw, url) as file:
            at = 0
            if piece.start > 0:
                file.seek(piece.start - 1)
                at = piece.start - 1 + len(file.readline())
            while (at < piece.stop or url.endswith(".gz")) and (line := file.readline()):
                if line.strip():
                    yield f"{url}, the line at byte {at:,}", line
                at += len(line)
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{url} cannot be read: {error}") from None


def _decoded(raw: IO[bytes], url: str) -> IO[bytes]:
    if url.endswith(".gz"):
        return gzip.open(io.BufferedReader(raw, _READ_BYTES), "rb")  # type: ignore[type-var, return-value]
    return raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw, _READ_BYTES)  # type: ignore[type-var]


def _object(line: bytes, where: str, options: EmbedOptions) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CorpusError(f"{where} is not valid JSON: {error}") from None
    if not isinstance(row, dict) or options.text_column not in row:
        raise CorpusError(f"{where} is no JSON object with the text under {options.text_column!r}")
    if not isinstance(row[options.text_column], str | None):
        raise CorpusError(f"{where}: {options.text_column!r} is {type(row[options.text_column]).__name__}, not text")
    return row


def _table(objects: list[dict[str, Any]], piece: Piece, options: EmbedOptions) -> Rows:
    names = kept_columns(list(dict.fromkeys(name for row in objects for name in row)), options)
    if options.vector_column in names:
        raise CorpusError(f"{piece.input.url}: a row has {options.vector_column!r} already: call the vectors' column differently")
    table = pa.table({name: json_column([row.get(name) for row in objects]) for name in names})
    return [row[options.text_column] for row in objects], table
