"""Tasks from pairs, scored by mteb without a hub."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.score import score
from mtd_ray.evaluate.texts import RetrievalTexts
from mtd_ray.evaluate.vectors import TaskVectors, concatenated


def pairs(*rows: tuple[str, str]) -> pa.Table:
    return pa.table({"query": [query for query, _ in rows], "passage": [passage for _, passage in rows]})


def numbered(count: int) -> RetrievalTexts:
    return RetrievalTexts.from_pairs("numbers", pairs(*((f"query {n}", f"passage {n}") for n in range(count))))


def test_repeated_texts_are_one_text() -> None:
    texts = RetrievalTexts.from_pairs("t", pairs(("a", "x"), ("a", "y"), ("b ", " x"), ("b", "x")))
    assert texts.queries == ("a", "b")
    assert texts.passages == ("x", "y")
    assert texts.relevant == ((0, 1), (0,))
    assert texts.count == 4


@pytest.mark.parametrize(
    ("rows", "message"), [((("a", "x"), ("b", "x")), "1 distinct passages"), ((("a", "x"), (" ", "y")), "row 1 .* query")]
)
def test_unusable_pairs_are_refused(rows: tuple[tuple[str, str], ...], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        RetrievalTexts.from_pairs("t", pairs(*rows))


def test_perfect_model_scores_one_whatever_the_lengths() -> None:
    texts = numbered(20)
    vectors = np.eye(20, dtype=np.float32)
    lengths = np.linspace(0.1, 9, 20, dtype=np.float32)[:, None]
    assert score(texts, TaskVectors(vectors, vectors * lengths)) == pytest.approx(1.0)


def test_second_place_scores_as_the_formula_says() -> None:
    texts = numbered(12)
    wrong = np.roll(np.eye(12, dtype=np.float32), 1, axis=1)
    queries = wrong + 0.5 * np.eye(12, dtype=np.float32)  # the relevant passage is second everywhere
    assert score(texts, TaskVectors(queries, np.eye(12, dtype=np.float32))) == pytest.approx(1 / math.log2(3), abs=1e-4)


def test_zero_vectors_find_nothing() -> None:
    texts = numbered(30)
    passages = np.eye(30, dtype=np.float32)
    queries = passages.copy()
    queries[:15] = 0
    assert 0.5 <= score(texts, TaskVectors(queries, passages)) < 0.7


def test_several_relevant_passages() -> None:
    texts = RetrievalTexts.from_pairs("t", pairs(("a", "x"), ("a", "y"), ("b", "z")))
    queries = np.array([[1, 0], [0, 1]], np.float32)
    passages = np.array([[1, 0.1], [1, 0.2], [0, 1]], np.float32)
    assert score(texts, TaskVectors(queries, passages)) == pytest.approx(1.0)


def test_concatenation_mixes_cosines_by_weight() -> None:
    rng = np.random.default_rng(0)
    first = TaskVectors(rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=(4, 5)).astype(np.float32) * 7)
    second = TaskVectors(rng.normal(size=(3, 2)).astype(np.float32) * 100, rng.normal(size=(4, 2)).astype(np.float32))
    fused = concatenated([first, second], [3.0, 1.0])
    assert fused.size == 7
    expected = (3 * cosines(first) + cosines(second)) / 4
    np.testing.assert_allclose(cosines(fused), expected, atol=1e-5)


def cosines(vectors: TaskVectors) -> np.ndarray:
    queries, passages = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (vectors.queries, vectors.passages))
    return np.asarray(queries @ passages.T)
