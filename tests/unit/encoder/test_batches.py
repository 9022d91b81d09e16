"""Token-budget batches: nothing lost, nothing over the budget, little padding, smaller ones when memory runs out."""

from __future__ import annotations

import random

import pytest
import torch

from mtd_ray.encoder.batches import TokenBudget
from mtd_ray.errors import MtdError


def batches(lengths: list[int], tokens: int) -> list[list[int]]:
    return [rows for rows, _ in TokenBudget(tokens).batches(lengths, len)]


def padded(lengths: list[int], rows: list[int]) -> int:
    return max(lengths[row] for row in rows) * len(rows)


def test_every_row_once_and_within_budget() -> None:
    lengths = [random.Random(7).randint(1, 300) for _ in range(1000)]
    found = batches(lengths, 1024)
    assert sorted(row for rows in found for row in rows) == list(range(1000))
    assert all(padded(lengths, rows) <= 1024 for rows in found)


def test_little_padding_on_mixed_lengths() -> None:
    rng = random.Random(7)
    lengths = [rng.choice((5, 250)) for _ in range(1000)]
    tokens = sum(padded(lengths, rows) for rows in batches(lengths, 2048))
    assert tokens < 1.05 * sum(lengths)


def test_longest_first_so_memory_fails_early() -> None:
    assert batches([1, 9, 3], 9) == [[1], [2, 0]]


def test_packed_texts_fill_the_budget_by_their_sum() -> None:
    lengths = [9, 2, 2, 2, 1, 40]
    packed = [rows for rows, _ in TokenBudget(16, packed=True).batches(lengths, len)]
    assert packed == [[5], [0, 1, 2, 3, 4]]


def test_text_over_the_budget_is_alone() -> None:
    assert batches([5000, 2, 2], 100) == [[0], [1, 2]]


def test_texts_without_tokens_and_no_texts() -> None:
    assert batches([0, 0], 4) == [[0, 1]]
    assert batches([], 4) == []


def test_budget_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        TokenBudget(0)


class SmallMemory:
    """A forward pass that fails for batches over so many padded tokens."""

    def __init__(self, lengths: list[int], tokens: int, error: Exception) -> None:
        self.lengths, self.tokens, self.error = lengths, tokens, error
        self.failed = 0

    def __call__(self, rows: list[int]) -> list[int]:
        if padded(self.lengths, rows) > self.tokens:
            self.failed += 1
            raise self.error
        return rows


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp:223: std::bad_alloc"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batches_for_good(error: Exception) -> None:
    lengths = [10] * 64
    budget, forward = TokenBudget(640), SmallMemory(lengths, 200, error)
    done = [row for rows, output in budget.batches(lengths, forward) for row in output]
    assert done == list(range(64))
    assert budget.tokens == 160
    assert forward.failed == 2
    assert [len(rows) for rows, _ in budget.batches(lengths, forward)] == [16] * 4


def test_text_that_does_not_fit_alone_is_named() -> None:
    lengths = [300, 10, 10]
    with pytest.raises(MtdError, match=r"a text of 300 tokens does not fit .* max_tokens"):
        list(TokenBudget(4096).batches(lengths, SmallMemory(lengths, 200, MemoryError())))


def test_other_errors_are_not_tried_again() -> None:
    forward = SmallMemory([10] * 8, 20, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        list(TokenBudget(80).batches([10] * 8, forward))
    assert forward.failed == 1


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_gpu_is_emptied_only_for_a_model_that_is_on_it(on_gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[None] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(None))
    lengths = [10] * 64
    list(TokenBudget(640, on_gpu=on_gpu).batches(lengths, SmallMemory(lengths, 200, MemoryError())))
    assert len(emptied) == (2 if on_gpu else 0)
