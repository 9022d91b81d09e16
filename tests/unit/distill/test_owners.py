"""Shards are dealt to workers evenly, and one that is in memory keeps its owner."""

import numpy as np
import pytest

from mtd_ray.distill.data.owners import Owners
from mtd_ray.distill.data.sampler import Sampler


def sampler(shards: int, shuffle_shards: int = 4) -> Sampler:
    rows = np.random.default_rng(0).integers(900, 1000, shards)
    return Sampler(rows.tolist(), batch_size=8, seed=0, stage=0, shuffle_shards=shuffle_shards, length_window=4)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_worker_reads_about_as_many_rows_of_a_group(workers: int) -> None:
    source = sampler(24)
    for group in range(1, 6):
        owners = Owners(source, workers).of_group(group)
        assert sorted(owners) == sorted(source.shards(group).tolist())
        loads = np.bincount(list(owners.values()), [source.shard_rows[shard] for shard in owners], workers)
        assert loads.max() < 1.1 * loads.mean()


def test_with_more_workers_than_shards_some_own_none() -> None:
    assert len(set(Owners(sampler(24), 16).of_group(1).values())) == 4


def test_a_shard_that_ends_a_pass_and_begins_the_next_keeps_its_owner() -> None:
    source, checked = sampler(13), 0
    owners = Owners(source, 3)
    for passes in range(1, 12):
        first = passes * source.groups_per_pass
        before, after = owners.of_group(first - 1), owners.of_group(first)
        checked += len(before.keys() & after.keys())
        assert all(after[shard] == before[shard] for shard in before.keys() & after.keys())
    assert checked > 0


def test_shards_that_all_fit_into_memory_never_change_hands() -> None:
    owners = Owners(sampler(8), 3)
    first = owners.of_group(0) | owners.of_group(1)
    assert all(owners.of_group(group).items() <= first.items() for group in range(2, 8))
