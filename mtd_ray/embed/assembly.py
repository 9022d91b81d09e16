"""Committed pieces of a file → its output, with a bounded amount of it in memory."""

from __future__ import annotations

import base64
import io
import logging
import tempfile
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray.embed.columns import UnfitError, as_schema, same_schema, with_text
from mtd_ray.embed.pieces import Piece
from mtd_ray.embed.record import Done, Record, merged
from mtd_ray.errors import StorageError

_log = logging.getLogger(__name__)

COMPRESSION: Any = {"compression": "zstd", "compression_level": 1}


def assemble(record: Record, piece: Piece, vector_column: str) -> None:
    """Put a file's output in its place, mark it as complete, and remove its pieces. ``piece`` is any of it.

    Two workers may come to this at once; both write the same, and one may find the pieces gone.

    Raises:
        StorageError: the store fails.
    """
    name, state = piece.input.name, piece.state
    done_key = record.done_key(name, state)
    try:
        if not record.store.exists(done_key):
            parts = [record.read(record.piece_key(state, piece.cut, number)) for number in range(piece.of)]
            record.begin_replacing(name, state)
            _write(record, parts, record.output_key(name), vector_column)
            starts = [0, *accumulate(part.rows for part in parts)][:-1]
            record.store.create(done_key, merged(parts, starts).to_json())
    except StorageError:
        if not record.store.exists(done_key):
            raise
    record.remove_pieces(state)


def _write(record: Record, parts: list[Done], key: str, vector_column: str) -> None:
    """All batches in order, a row group each, through a local file: object stores take a file whole."""
    schema: pa.Schema | None = None
    for part in parts:
        schema = same_schema(schema, pa.ipc.read_schema(pa.py_buffer(base64.b64decode(part.schema))))
    assert schema is not None  # noqa: S101 (a file has at least one piece)
    schema = pa.schema([*(field for field in schema if field.name != vector_column), schema.field(vector_column)])
    with tempfile.TemporaryDirectory(prefix="mtd-embed-") as folder:
        path = Path(folder) / "output.parquet"
        while (unfit := _unfit(record, [file for part in parts for file in part.files], schema, path)) is not None:
            schema = with_text(schema, unfit)
        record.store.upload(path, key)


def _unfit(record: Record, files: list[str], schema: pa.Schema, path: Path) -> str | None:
    """Write the batches to a local file. The name of a column whose values are not all of its type, where there is one."""
    try:
        with pq.ParquetWriter(path, schema, use_dictionary=False, **COMPRESSION) as writer:
            for file in files:
                writer.write_table(as_schema(pq.read_table(io.BytesIO(record.store.get(file))), schema))
    except UnfitError as found:
        return found.name
    return None
