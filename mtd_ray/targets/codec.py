"""Vectors ↔ Parquet bytes.

A vector is one ``fixed_size_binary`` value of little-endian fp16, uncompressed: read at memory speed, where a Parquet list is
decoded number by number. Compression saves little on vectors and costs most of the read speed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray.errors import TargetError

_DTYPE = np.dtype("<f2")
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class DecodedPart:
    """One part's targets, row by row.

    Attributes:
        ids: the texts' ids.
        vectors: (rows, dim) float16, read-only; zeros where ``valid`` is False.
        valid: (rows,) bool.
        reasons: why a row has no vector; None for valid rows.
    """

    ids: list[str]
    vectors: npt.NDArray[np.float16]
    valid: npt.NDArray[np.bool_]
    reasons: list[str | None]


def encode_vectors(vectors: npt.NDArray[np.float32], ids: Sequence[str], failures: Mapping[int, str]) -> bytes:
    """Parquet bytes of one part: columns ``id``, ``vector``, ``reason`` (null = valid).

    Args:
        vectors: (rows, dim) float32.
        ids: one per row.
        failures: row → why the teacher gave no vector; what ``vectors`` holds there is ignored.

    Raises:
        TargetError: a vector outside ``failures`` is zero, not finite, or beyond what fp16 can hold; or sizes do not match.
    """
    if vectors.ndim != 2 or len(ids) != len(vectors) or vectors.shape[1] == 0:
        raise TargetError(
            f"{len(ids)} ids do not match vectors of shape {vectors.shape}: (rows, dim) with one row per id is needed"
        )
    if not all(0 <= row < len(ids) for row in failures):
        raise TargetError(f"a failure is reported for row {max(failures)} (or a negative one) of a part of {len(ids)} rows")
    half = _to_half(vectors, ids, failures)
    width = half.shape[1] * _DTYPE.itemsize
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(half), [None, pa.py_buffer(half)])
    reasons = pa.array([failures.get(row) for row in range(len(ids))], pa.string())
    metadata = {"dim": str(half.shape[1]), "dtype": "float16"}
    schema = pa.schema([("id", pa.string()), ("vector", column.type), ("reason", pa.string())], metadata)
    table = pa.Table.from_arrays([pa.array(ids, pa.string()), column, reasons], schema=schema)
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=max(1, len(half)), compression="none", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def decode_vectors(data: bytes) -> DecodedPart:
    """The inverse of :func:`encode_vectors`. TargetError when the bytes are not such a file."""
    try:
        table = pq.read_table(pa.BufferReader(data)).combine_chunks()
        metadata = table.schema.metadata or {}
        dim, dtype = int(metadata[b"dim"]), metadata[b"dtype"].decode()
        ids, reasons = table.column("id").to_pylist(), table.column("reason").to_pylist()
        vectors = _from_column(table.column("vector"), dim)
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise TargetError(f"not a readable target file: {error}") from None
    if dtype != "float16":
        raise TargetError(f"target file holds {dtype} vectors; this version reads float16")
    return DecodedPart(ids, vectors, np.array([reason is None for reason in reasons], dtype=np.bool_), reasons)


def _to_half(vectors: npt.NDArray[np.float32], ids: Sequence[str], failures: Mapping[int, str]) -> npt.NDArray[np.float16]:
    if failures:
        vectors = vectors.copy()
        vectors[list(failures)] = 0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        half = vectors.astype(_DTYPE, order="C")
    fits = np.atleast_1d(np.isfinite(half).all(axis=1))
    if not fits.all():
        finite = np.atleast_1d(np.isfinite(vectors).all(axis=1))
        _refuse(ids, ~finite, "holds NaN or infinity")
        _refuse(ids, ~fits, f"holds a value beyond ±{_LARGEST:.0f}, the range of fp16; normalise the teacher's vectors")
    empty = np.atleast_1d(~half.any(axis=1))
    empty[list(failures)] = False
    _refuse(ids, empty, "is zero (in fp16), so it has no direction")
    return half


def _refuse(ids: Sequence[str], bad: npt.NDArray[np.bool_], what: str) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        raise TargetError(f"the vector of text {ids[rows[0]]} (row {rows[0]} of the part, {len(rows)} such rows) {what}")


def _from_column(column: pa.ChunkedArray, dim: int) -> npt.NDArray[np.float16]:
    width = dim * _DTYPE.itemsize
    if column.type != pa.binary(width):
        raise ValueError(f"vector column of type {column.type} does not hold {dim} fp16 values")
    if column.null_count:
        raise ValueError("vector column has nulls")
    if column.num_chunks == 0:
        return np.empty((0, dim), dtype=_DTYPE)
    array = column.combine_chunks() if column.num_chunks > 1 else column.chunk(0)
    flat = np.frombuffer(array.buffers()[1], dtype=_DTYPE, count=len(array) * dim, offset=array.offset * width)
    flat.flags.writeable = False
    return flat.reshape(len(array), dim)
