"""The types of numbers in which vectors are stored: as the server sends them, so that stored and asked vectors can be compared."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Dtype = Literal["float32", "float16", "int8"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

_LARGEST = np.float32(127)


def as_dtype(vectors: NDArray[np.float32], dtype: Dtype, *, normalize: bool = False) -> NDArray[Any]:
    """Vectors (rows, size) as they are stored.

    ``int8``: each vector scaled so that its largest number becomes ±127, rounded; what is left of it is its direction.

    Args:
        normalize: scale each to length 1 before; int8 is the same with and without it.
    """
    if dtype == "int8":
        largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
        return np.asarray(np.rint(vectors * (_LARGEST / np.where(largest > 0, largest, _LARGEST))), np.int8)
    if normalize:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = np.divide(vectors, np.where(lengths > 0, lengths, 1), dtype=np.float32)
    return np.asarray(vectors, dtype)


def stored_vectors(
    vectors: NDArray[np.float32], dtype: Dtype, *, normalize: bool = False
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """As :func:`as_dtype`, and which rows (rows,) are not finite in the type that they are stored in; zeros stand there."""
    bad = np.logical_not(np.isfinite(vectors).all(axis=1))
    with np.errstate(over="ignore"):
        stored = as_dtype(np.where(bad[:, None], np.float32(0), vectors), dtype, normalize=normalize)
    too_large = np.logical_not(np.isfinite(stored).all(axis=1))
    stored[too_large] = 0
    return stored, bad | too_large


def vector_type(dtype: Dtype, size: int) -> pa.DataType:
    """A list of fixed size, which Parquet's readers know."""
    return pa.list_(pa.field("element", pa.from_numpy_dtype(dtype)), size)


def vector_array(vectors: NDArray[Any], missing: NDArray[np.bool_], dtype: Dtype) -> pa.Array:
    """Vectors (rows, size) as a column; null where ``missing`` (rows,)."""
    values = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, type=vector_type(dtype, vectors.shape[1]), mask=pa.array(missing))
