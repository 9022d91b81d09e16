"""Pieces of the input files: the unit of embedding, committing and re-doing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray.embed.inputs import Input
from mtd_ray.embed.options import EmbedOptions
from mtd_ray.errors import CorpusError

# A piece of a row group reads all of the group's texts before its own, so that a group is not cut into many.
_MOST_PIECES_OF_A_GROUP = 16
_JSONL_BYTES_PER_ROW = 1_024


@dataclass(frozen=True)
class Piece:
    """Rows ``start`` to ``stop`` (exclusive) of a Parquet file; of JSON Lines the lines that begin in these bytes.

    Attributes:
        state: digest of the file and of all that decides its output.
        cut: rows per piece; the pieces of one file in one state and cut belong together.
        number, of: its place among them.
        rows: how many, or about how many where they are lines.
    """

    input: Input
    state: str
    cut: int
    number: int
    of: int
    start: int
    stop: int
    rows: int

    @property
    def is_of_compressed_lines(self) -> bool:
        return self.input.url.endswith(".gz")


def pieces_of(found: Input, state: str, options: EmbedOptions) -> list[Piece]:
    """All pieces of a file, at least one.

    Raises:
        CorpusError: the file is not what its name says, has no such text column, or has a column of the vectors' name.
    """
    spans = _row_spans(found, options) if found.is_parquet else _byte_spans(found, options)
    unit = 1 if found.is_parquet else _JSONL_BYTES_PER_ROW
    return [
        Piece(found, state, options.piece_rows, number, len(spans), start, stop, (stop - start) // unit)
        for number, (start, stop) in enumerate(spans)
    ]


def _row_spans(found: Input, options: EmbedOptions) -> list[tuple[int, int]]:
    """Whole row groups together until they are long enough; a long one in several, of like length."""
    spans: list[tuple[int, int]] = []
    start = stop = 0
    for rows in _row_groups(found, options):
        if rows > 2 * options.piece_rows:
            spans += [(start, stop)] if stop > start else []
            count = min(_MOST_PIECES_OF_A_GROUP, rows // options.piece_rows)
            edges = [stop + rows * place // count for place in range(count + 1)]
            spans += pairwise(edges)
            start = stop = stop + rows
            continue
        stop += rows
        if stop - start >= options.piece_rows:
            spans.append((start, stop))
            start = stop
    return spans + ([(start, stop)] if stop > start or not spans else [])


def _row_groups(found: Input, options: EmbedOptions) -> list[int]:
    try:
        with found.open() as file:
            parquet = pq.ParquetFile(file)
            check_columns(parquet.schema_arrow, found.url, options)
            return [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{found.url} is not a readable Parquet file: {error}") from None


def check_columns(schema: pa.Schema, name: str, options: EmbedOptions) -> None:
    """Raise CorpusError unless a file has texts where they are said to be, and its columns leave room for the vectors."""
    for column in (options.text_column, *(options.columns or ())):
        if column not in schema.names:
            raise CorpusError(f"{name} has no column {column!r}; it has {', '.join(schema.names)}")
    kind = schema.field(options.text_column).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    if not any(is_text(kind) for is_text in texts):
        raise CorpusError(f"{name}: column {options.text_column!r} holds {kind}, not text")
    if options.vector_column in kept_columns(schema.names, options):
        raise CorpusError(
            f"{name} has a column {options.vector_column!r} already: name the vectors' column differently, or the columns to keep"
        )


def kept_columns(names: list[str], options: EmbedOptions) -> list[str]:
    """Of a file's columns, those that come back, in the file's order."""
    wanted = set(names) - {options.text_column} if options.columns is None else set(options.columns)
    return [name for name in names if name in wanted]


def _byte_spans(found: Input, options: EmbedOptions) -> list[tuple[int, int]]:
    """A compressed file can only be read from its beginning."""
    if found.url.endswith(".gz"):
        return [(0, found.size)]
    count = max(1, found.size // (options.piece_rows * _JSONL_BYTES_PER_ROW))
    edges = [found.size * place // count for place in range(count + 1)]
    return list(pairwise(edges))
