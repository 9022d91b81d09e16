"""What benchmarks/serve_chaos.py counts as failed and as wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.serve_chaos_judge import Answered, Asked, Judge, percentile_ms

RIGHT = {
    (version, size): np.random.default_rng(size + shift).normal(size=(4, size))
    for shift, version in enumerate(("one", "two"))
    for size in (2, 3)
}
PLAIN = Asked("plain", (2, 0), 3)
POISON = Asked("poison", (2, 0, 1), 3, poisoned=1)


def judged(asked: Asked, status: int | None = 200, seconds: float = 0.1, **answer: Any) -> dict[str, float]:
    """The counts that are not 0 after one request."""
    judge = Judge(RIGHT, deadline_s=5.0)
    judge.count(asked, Answered(status, seconds, **answer))
    return {name: count for name, count in judge.figures().items() if count}


def test_the_vectors_of_the_version_that_answered_are_right() -> None:
    for version in ("one", "two"):
        assert judged(PLAIN, model=version, vectors=RIGHT[version, 3][[2, 0]] + 9e-5) == {"accepted": 1}


@pytest.mark.parametrize(
    ("model", "vectors"),
    [
        ("two", RIGHT["one", 3][[2, 0]]),
        ("one", RIGHT["one", 3][[0, 2]]),
        ("one", RIGHT["one", 3][[2, 0]] + 2e-4),
        ("one", RIGHT["one", 3][[2, 0]] * np.nan),
        ("one", RIGHT["one", 3][[2]]),
        ("one", RIGHT["one", 2][[2, 0]]),
        ("another", RIGHT["one", 3][[2, 0]]),
        ("one", None),
    ],
)
def test_other_vectors_are_wrong(model: str, vectors: Any) -> None:
    assert judged(PLAIN, model=model, vectors=vectors) == {"accepted": 1, "wrong_vectors": 1}


@pytest.mark.parametrize("status", [None, 400, 408, 500, 503, 504])
def test_an_accepted_request_without_an_answer_failed(status: int | None) -> None:
    assert judged(PLAIN, status, fault="input 1 is not finite") == {"accepted": 1, "failed_accepted": 1}


def test_an_answer_after_the_deadline_failed() -> None:
    answer = {"model": "one", "vectors": RIGHT["one", 3][[2, 0]]}
    assert judged(PLAIN, seconds=5.1, **answer) == {"accepted": 1, "failed_accepted": 1}


def test_a_rejection_says_when_to_come_back() -> None:
    assert judged(PLAIN, 429, retry_after="2") == {"rejected": 1}
    assert judged(POISON, 429, retry_after="2") == {"rejected": 1}
    assert judged(PLAIN, 429) == {"rejected": 1, "without_retry_after": 1}


def test_poison_fails_with_an_error_that_names_it() -> None:
    assert judged(POISON, 500, fault="input 1 gives a vector that is not finite") == {"poison": 1}
    for status, fault in ((500, "Internal Server Error"), (500, "input 0 gives …"), (None, "reset"), (400, "input 1")):
        assert judged(POISON, status, fault=fault) == {"poison": 1, "failed_accepted": 1}
    assert judged(POISON, 200, model="one", vectors=RIGHT["one", 3][[2, 0, 1]]) == {"poison": 1, "wrong_vectors": 1}


def test_of_a_client_that_hung_up_nothing_is_expected() -> None:
    assert judged(Asked("hang-up", (0,), 3), None, fault="cancelled") == {"hung_up": 1}


def test_percentiles_are_milliseconds() -> None:
    assert percentile_ms([0.01, 0.02, 0.03], 50) == 20.0
    assert percentile_ms([], 99) is None
