"""Quantised vectors have the values that a vector database keeps; the nearest are found block by block."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers.util.quantization import quantize_embeddings

from mtd_ray.evaluate.measuring import search
from mtd_ray.evaluate.measuring.forms import Int8, binary
from mtd_ray.evaluate.measuring.search import nearest, ranked
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


@pytest.mark.parametrize("block_bytes", [64, 4_000, 10**9])
def test_nearest_is_the_same_whatever_the_blocks(block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_BLOCK_BYTES", block_bytes)
    queries, vectors = drawn(7, 16), drawn(90, 16, seed=1)
    documents = np.arange(90)[::-1]
    products, places = nearest(queries, documents, lambda rows: vectors[rows], most=12)
    expected = queries @ vectors[documents].T
    order = np.argsort(-expected, axis=1)[:, :12]
    assert np.array_equal(places.numpy(), order)
    assert products.numpy() == pytest.approx(np.take_along_axis(expected, order, axis=1), abs=1e-6)


def test_fewer_documents_than_asked_for_are_all_ranked() -> None:
    vectors = drawn(5, 16)
    _, places = nearest(vectors, np.arange(5), lambda rows: vectors[rows], most=100)
    assert places.shape == (5, 5)


def test_a_query_without_candidates_finds_nothing() -> None:
    vectors = drawn(5, 16)
    found = ranked(vectors[:2], ["a", "b"], {"a": [3, 0, 1]}, np.arange(5), lambda rows: vectors[rows], most=2)
    assert found["a"][1][0] == 0
    assert len(found["a"][0]) == 2
    assert found["b"] == ([], [])
