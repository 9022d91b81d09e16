"""Token-budget batches: nothing lost, nothing over the budget, little padding."""

from __future__ import annotations

import random

import pytest

from mtd_ray.encoder.batches import token_batches


def padded(lengths: list[int], rows: list[int]) -> int:
    return max(lengths[row] for row in rows) * len(rows)


def test_every_row_once_and_within_budget() -> None:
    lengths = [random.Random(7).randint(1, 300) for _ in range(1000)]
    batches = list(token_batches(lengths, 1024))
    assert sorted(row for rows in batches for row in rows) == list(range(1000))
    assert all(padded(lengths, rows) <= 1024 for rows in batches)


def test_little_padding_on_mixed_lengths() -> None:
    rng = random.Random(7)
    lengths = [rng.choice((5, 250)) for _ in range(1000)]
    tokens = sum(padded(lengths, rows) for rows in token_batches(lengths, 2048))
    assert tokens < 1.05 * sum(lengths)


def test_longest_first_so_memory_fails_early() -> None:
    assert list(token_batches([1, 9, 3], 9)) == [[1], [2, 0]]


def test_text_over_the_budget_is_alone() -> None:
    assert list(token_batches([5000, 2, 2], 100)) == [[0], [1, 2]]


def test_texts_without_tokens_and_no_texts() -> None:
    assert list(token_batches([0, 0], 4)) == [[0, 1]]
    assert list(token_batches([], 4)) == []


def test_budget_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        list(token_batches([1], 0))
