from __future__ import annotations

from mtd_ray.teachers.batches import TokenEstimate, fill_batches


def batches(texts: list[str], estimate: TokenEstimate | None = None, **caps: int) -> list[list[int]]:
    caps = {"max_inputs": 1000, "max_request_tokens": 1000, "max_tokens": 1000} | caps
    return [batch.rows for batch in fill_batches(texts, range(len(texts)), estimate or TokenEstimate(), **caps)]


def test_the_tighter_cap_ends_a_batch() -> None:
    texts = ["x" * 30] * 7  # ten tokens each before anything is learnt
    assert batches(texts, max_inputs=3) == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches(texts, max_inputs=3, max_request_tokens=20) == [[0, 1], [2, 3], [4, 5], [6]]


def test_every_row_is_asked_once_even_when_it_fits_no_cap() -> None:
    texts = ["x" * 30, "y" * 9000, "z" * 30]
    got = batches(texts, max_tokens=100)
    assert [1] in got
    assert sorted(row for batch in got for row in batch) == [0, 1, 2]
    assert sorted(batches(texts, max_request_tokens=5)) == [[0], [1], [2]]
    assert batches([]) == []


def test_the_estimate_follows_what_the_provider_counts() -> None:
    estimate = TokenEstimate()
    assert estimate.of("x" * 300) == 100
    estimate.correct(["x" * 3000], 1000, 500)
    assert 50 <= estimate.of("x" * 300) <= 55
    for _ in range(30):
        estimate.correct(["x" * 3000], 1000, 3000)
    assert 295 <= estimate.of("x" * 300) <= 320


def test_a_provider_that_counts_nothing_teaches_nothing() -> None:
    estimate = TokenEstimate()
    estimate.correct(["x" * 300], 100, 0)
    assert estimate.of("x" * 300) == 100
    assert estimate.of("") == 1


def test_bytes_are_counted_not_characters() -> None:
    assert TokenEstimate().of("漢字漢字") == 4
