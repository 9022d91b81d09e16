"""Types of numbers on the wire."""

from __future__ import annotations

from base64 import b64decode
from typing import get_args

import numpy as np
import pytest

from mtd_ray.evaluate.measuring.forms import binary
from mtd_ray.evaluate.vectors import Vectors, unit
from serve.wire.vectors import Dtype, as_base64, as_dtype

NUMPY = {"float": "<f4", "int8": "i1", "uint8": "u1", "binary": "i1", "ubinary": "u1"}


@pytest.fixture
def vectors() -> Vectors:
    return np.random.default_rng(5).standard_normal((40, 64)).astype(np.float32)


def test_bits_are_those_of_voyages_documents() -> None:
    vector = np.array(
        [-0.03955078, 0.006214142, -0.07446289, -0.039001465, 0.0046463013, 0.00030612946, -0.08496094, 0.03994751], np.float32
    )
    assert as_dtype(vector, "ubinary").tolist() == [77]
    assert as_dtype(vector, "binary").tolist() == [-51]


def test_bits_are_what_the_evaluation_measures(vectors: Vectors) -> None:
    served = np.array([np.unpackbits(as_dtype(vector, "ubinary")) for vector in vectors])
    assert np.array_equal(served, binary(vectors) > 0)


def test_eight_bits_keep_the_cosine(vectors: Vectors) -> None:
    codes = np.array([as_dtype(vector, "int8") for vector in vectors]).astype(np.float32)
    shifted = np.array([as_dtype(vector, "uint8") for vector in vectors]).astype(np.float32) - 128
    exact = unit(vectors) @ unit(vectors).T
    assert np.abs(unit(codes) @ unit(codes).T - exact).max() < 0.01
    assert np.array_equal(codes, shifted)
    assert np.abs(codes).max(axis=1).tolist() == [127] * len(vectors)


def test_codes_depend_on_the_direction_alone_and_exist_at_the_edges() -> None:
    vector = np.array([0.5, -0.25, 0.0], np.float32)
    for edge in (vector * 0, np.full(3, np.finfo(np.float32).max), np.full(3, np.finfo(np.float32).smallest_subnormal)):
        for dtype in get_args(Dtype):
            assert np.isfinite(as_dtype(edge.astype(np.float32), dtype)).all()
    assert np.array_equal(as_dtype(vector, "int8"), as_dtype(vector * 1000, "int8"))


def test_a_size_that_fills_no_byte_ends_with_zeros() -> None:
    assert as_dtype(np.ones(11, np.float32), "ubinary").tolist() == [255, 0b11100000]


@pytest.mark.parametrize("dtype", get_args(Dtype))
def test_base64_holds_the_same_codes(vectors: Vectors, dtype: Dtype) -> None:
    codes = as_dtype(vectors[0], dtype)
    assert np.array_equal(np.frombuffer(b64decode(as_base64(codes)), NUMPY[dtype]), codes)
