"""Quantised vectors have the values that a vector database keeps."""

from __future__ import annotations

import numpy as np
from sentence_transformers.util.quantization import quantize_embeddings

from mtd_ray.evaluate.measuring.forms import Int8, binary
from mtd_ray.evaluate.vectors import Vectors, unit


def drawn(rows: int, size: int, seed: int = 0) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(rows, size)).astype(np.float32))


def test_int8_codes_are_those_of_sentence_transformers() -> None:
    documents, queries = drawn(200, 24), drawn(50, 24, seed=1)
    quantised = Int8.calibrated([documents[:80], documents[80:]])
    expected = quantize_embeddings(queries, "int8", calibration_embeddings=documents)
    assert np.array_equal(quantised.codes(queries), expected)


def test_int8_values_are_within_half_a_step() -> None:
    documents = drawn(200, 24)
    quantised = Int8.calibrated([documents])
    apart = np.abs(quantised.values(quantised.codes(documents)) - documents)
    assert (apart <= 0.51 * quantised.step + 1e-6).mean() > 0.99
    assert (apart <= 1.01 * quantised.step).all()


def test_a_dimension_without_spread_is_kept() -> None:
    documents = np.full((3, 2), 0.25, np.float32)
    quantised = Int8.calibrated([documents])
    assert np.isfinite(quantised.values(quantised.codes(documents))).all()


def test_binary_products_count_equal_bits() -> None:
    vectors = drawn(40, 64)
    bits = quantize_embeddings(vectors, "ubinary")
    hamming = np.unpackbits(bits[:, None] ^ bits[None], axis=2).sum(axis=2)
    assert np.array_equal(binary(vectors) @ binary(vectors).T, 64 - 2 * hamming.astype(np.float32))
