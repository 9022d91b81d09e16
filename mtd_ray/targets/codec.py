"""Vectors ↔ Parquet bytes.

A vector is one ``fixed_size_binary`` value of little-endian fp16, uncompressed and never null, and all of a part's vectors stand in
one page. So they lie in the file as they do in memory and are looked at where they are, where a Parquet list is decoded number by
number. Compression saves little on vectors and costs most of the read speed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mtd_ray.errors import TargetError
from mtd_ray.targets.page import plain_values

_DTYPE = np.dtype("<f2")
_LARGEST = float(np.finfo(np.float16).max)
_INFINITY = 0x7C00  # fp16 without its sign: zero is 0, all that is finite is below this
_PAGE_BYTES = 1 << 30
_PLAIN: Any = {"compression": "none", "use_dictionary": False, "write_statistics": False}
_BLOCK_BYTES = 1 << 18


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


def encode_vectors(
    vectors: npt.NDArray[np.float32], ids: Sequence[str], failures: Mapping[int, str], notes: Mapping[str, str] | None = None
) -> bytes:
    """Parquet bytes of one part: columns ``id``, ``vector``, ``reason`` (null = valid).

    Args:
        vectors: (rows, dim) float32.
        ids: one per row.
        failures: row → why the teacher gave no vector; what ``vectors`` holds there is ignored.
        notes: further entries of the schema's metadata.

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
    fields = [pa.field("id", pa.string()), pa.field("vector", column.type, nullable=False), pa.field("reason", pa.string())]
    schema = pa.schema(fields, {**(notes or {}), "dim": str(half.shape[1]), "dtype": "float16"})
    table = pa.Table.from_arrays([pa.array(ids, pa.string()), column, reasons], schema=schema)
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=max(1, len(half)), data_page_size=_PAGE_BYTES, **_PLAIN)
    return sink.getvalue()


def decode_vectors(data: bytes | memoryview) -> DecodedPart:
    """The inverse of :func:`encode_vectors`: the vectors are a view of ``data``, which need not be aligned.

    Another writer's Parquet file of the same columns is read as well, with a copy.

    Raises:
        TargetError: the bytes are not such a file.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        metadata = file.schema_arrow.metadata or {}
        dim, dtype = int(metadata[b"dim"]), metadata[b"dtype"].decode()
        texts = file.read(["id", "reason"], use_threads=False)
        ids, reasons = texts.column("id").to_pylist(), texts.column("reason").to_pylist()
        vectors = _vectors(file, data, dim)
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise TargetError(f"not a readable target file: {error}") from None
    if dtype != "float16":
        raise TargetError(f"target file holds {dtype} vectors; this version reads float16")
    return DecodedPart(ids, vectors, np.array([reason is None for reason in reasons], dtype=np.bool_), reasons)


def _to_half(vectors: npt.NDArray[np.float32], ids: Sequence[str], failures: Mapping[int, str]) -> npt.NDArray[np.float16]:
    if failures:
        vectors = vectors.copy()
        vectors[list(failures)] = 0
    half = _converted(vectors)
    largest = _largest_bits(half)
    if (unfit := largest >= _INFINITY).any():
        finite = np.atleast_1d(np.isfinite(vectors).all(axis=1))
        _refuse(ids, ~finite, "holds NaN or infinity")
        _refuse(ids, unfit, f"holds a value beyond ±{_LARGEST:.0f}, the range of fp16; normalise the teacher's vectors")
    empty = largest == 0
    empty[list(failures)] = False
    _refuse(ids, empty, "is zero (in fp16), so it has no direction")
    return half


def _converted(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """The vectors in fp16, rounded to nearest even."""
    # PyTorch uses the processor's own instruction, 15 times faster than numpy's arithmetic. A worker that only talks to an API has
    # not loaded it and must not for this: it weighs 250 MB, and an API never fills a part as fast as numpy converts it.
    torch = sys.modules.get("torch")
    if torch is not None and vectors.dtype == np.float32 and vectors.flags.carray:
        half = np.empty(vectors.shape, _DTYPE)
        torch.from_numpy(half).copy_(torch.from_numpy(vectors))
        return half
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return vectors.astype(_DTYPE, order="C")


def _largest_bits(half: npt.NDArray[np.float16]) -> npt.NDArray[np.uint16]:
    """Each row's largest value without its sign, as bits: these order like the numbers, with infinity and then NaN on top."""
    bits = half.view("<u2")
    largest = np.empty(len(bits), np.uint16)
    rows = max(1, _BLOCK_BYTES // max(1, bits.shape[1] * bits.itemsize))  # so that the block stays in the processor's cache
    for start in range(0, len(bits), rows):
        (bits[start : start + rows] & 0x7FFF).max(axis=1, out=largest[start : start + rows])
    return largest


def _refuse(ids: Sequence[str], bad: npt.NDArray[np.bool_], what: str) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        raise TargetError(f"the vector of text {ids[rows[0]]} (row {rows[0]} of the part, {len(rows)} such rows) {what}")


def _vectors(file: pq.ParquetFile, data: bytes | memoryview, dim: int) -> npt.NDArray[np.float16]:
    width = dim * _DTYPE.itemsize
    column = file.schema_arrow.field("vector")
    if column.type != pa.binary(width):
        raise ValueError(f"vector column of type {column.type} does not hold {dim} fp16 values")
    plain = plain_values(file, "vector", memoryview(data))
    values = _copied(file.read(["vector"], use_threads=False).column("vector")) if plain is None else plain
    flat = np.frombuffer(values, dtype=_DTYPE, count=file.metadata.num_rows * dim)
    flat.flags.writeable = False
    return flat.reshape(file.metadata.num_rows, dim)


def _copied(column: pa.ChunkedArray) -> bytes:
    if column.null_count:
        raise ValueError("vector column has nulls")
    return b"".join(column.to_pylist())
