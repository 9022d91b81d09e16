from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mtd_ray.embed.forms import as_dtype, stored_vectors, vector_array


def vectors(rows: int = 6, size: int = 8) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(rows, size)).astype(np.float32) * 3


def test_stored_bytes_are_those_that_the_server_sends() -> None:
    from serve.wire.vectors import as_dtype as sent

    found = np.vstack([vectors(), np.zeros((1, 8), np.float32)])
    np.testing.assert_array_equal(as_dtype(found, "int8"), np.stack([sent(row, "int8") for row in found]))
    np.testing.assert_array_equal(as_dtype(found, "float32"), found)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_length_one(dtype: str) -> None:
    stored = as_dtype(vectors(), dtype, normalize=True)  # type: ignore[arg-type]
    assert stored.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(stored.astype(np.float32), axis=1), 1, atol=2e-3)


@pytest.mark.parametrize(("dtype", "without"), [("float32", [2]), ("int8", [2]), ("float16", [1, 2])])
def test_a_vector_is_judged_in_the_type_that_it_is_stored_in(dtype: str, without: list[int]) -> None:
    found = np.array([[1e-9, 0], [1e5, 1], [np.nan, 1], [0, 0]], np.float32)
    stored, bad = stored_vectors(found, dtype)  # type: ignore[arg-type]
    assert np.flatnonzero(bad).tolist() == without
    assert np.isfinite(stored).all()
    assert stored.dtype == dtype


def test_a_row_without_a_vector_is_null() -> None:
    column = vector_array(as_dtype(vectors(3), "float16"), np.array([False, True, False]), "float16")
    assert column.type == pa.list_(pa.field("element", pa.float16()), 8)
    assert [row is None for row in column.to_pylist()] == [False, True, False]
