"""Rows are dealt to workers and to micro-batches without loss, and evenly."""

import numpy as np
import pytest

from mtd_ray.distill.data.split import split_batch, split_tokens


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("seed", range(5))
def test_every_row_goes_to_one_worker_and_every_worker_has_one(workers: int, seed: int, packed: bool) -> None:
    lengths = np.random.default_rng(seed).integers(1, 400, 16).tolist()
    shares = split_batch(lengths, workers, packed=packed)
    assert len(shares) == workers
    assert min(len(share) for share in shares) >= 1
    assert sorted(np.concatenate(shares)) == list(range(16))


def test_padded_workers_get_about_equal_padded_size() -> None:
    lengths = np.random.default_rng(0).integers(10, 400, 64)
    sizes = [len(share) * lengths[share].max() for share in split_batch(lengths, 4, packed=False)]
    assert max(sizes) < 1.25 * np.mean(sizes)


@pytest.mark.parametrize(("rows", "workers"), [(64, 2), (128, 4), (128, 8), (1024, 8)])
@pytest.mark.parametrize("seed", range(5))
def test_packed_workers_get_equal_tokens(rows: int, workers: int, seed: int) -> None:
    # As texts of the web are: most short, some cut at the limit.
    lengths = np.minimum(np.random.default_rng(seed).lognormal(4, 1, rows).astype(int) + 3, 512)
    tokens = [lengths[share].sum() for share in split_batch(lengths, workers, packed=True)]
    assert max(tokens) < 1.05 * np.mean(tokens)


@pytest.mark.parametrize("packed", [False, True])
def test_equal_lengths_are_split_evenly(packed: bool) -> None:
    assert [len(share) for share in split_batch([20] * 8, 2, packed=packed)] == [4, 4]


def test_one_long_text_gets_a_worker_of_its_own() -> None:
    assert sorted(len(share) for share in split_batch([10] * 9 + [1000], 2, packed=False)) == [1, 9]


def test_micro_batches_stay_within_their_tokens() -> None:
    counts = np.random.default_rng(1).integers(1, 60, 40).tolist()
    groups = split_tokens(counts, 128)
    assert sorted(np.concatenate(groups)) == list(range(40))
    assert all(len(group) * max(counts[row] for row in group) <= 128 for group in groups)


def test_a_text_longer_than_the_limit_stands_alone() -> None:
    assert [len(group) for group in split_tokens([5, 500, 5], 100)] == [1, 2]


@pytest.mark.parametrize("wanted", [1, 5, 40, 60])
def test_more_groups_than_needed_stay_within_their_tokens_and_may_be_empty(wanted: int) -> None:
    counts = [*np.random.default_rng(2).integers(1, 60, 39).tolist(), 500]
    groups = split_tokens(counts, 128, at_least=wanted)
    assert len(groups) >= wanted
    assert sorted(np.concatenate(groups)) == list(range(40))
    assert all(len(group) == 1 or len(group) * max(counts[row] for row in group) <= 128 for group in groups if len(group))
