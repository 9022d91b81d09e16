"""Batches are a pure function of seed, stage and step, and hold every row once per pass."""

import numpy as np
import pytest

from mtd_ray.distill.sampler import Sampler
from mtd_ray.errors import TrainingError

ROWS = [50, 7, 31, 64, 12]
LENGTHS = {shard: np.random.default_rng(shard).integers(1, 500, rows) for shard, rows in enumerate(ROWS)}


def sampler(**changes: int) -> Sampler:
    options = {"batch_size": 8, "seed": 3, "stage": 1, "shuffle_shards": 2, "length_window": 4} | changes
    return Sampler(ROWS, **options, lengths=LENGTHS.__getitem__)


def rows_of(batches: list[np.ndarray]) -> list[tuple[int, int]]:
    return [(int(shard), int(row)) for batch in batches for shard, row in batch]


def test_a_step_has_the_same_batch_whatever_was_asked_before() -> None:
    in_order = sampler()
    batches = [in_order.batch(step) for step in range(45)]
    for step in (44, 0, 21, 20, 7):
        assert np.array_equal(sampler().batch(step), batches[step])


@pytest.mark.parametrize("window", [1, 4, 100])
@pytest.mark.parametrize("shards", [1, 2, 100])
def test_a_pass_holds_every_row_at_most_once_and_leaves_out_less_than_a_batch(window: int, shards: int) -> None:
    source = sampler(length_window=window, shuffle_shards=shards)
    for passes in range(3):
        start = passes * source.batches_per_pass
        rows = rows_of([source.batch(step) for step in range(start, start + source.batches_per_pass)])
        assert len(rows) == len(set(rows)) > sum(ROWS) - 8
        assert all(row < ROWS[shard] for shard, row in rows)


@pytest.mark.parametrize("change", [{"seed": 4}, {"stage": 0}])
def test_another_seed_or_stage_has_another_order(change: dict[str, int]) -> None:
    assert not np.array_equal(sampler().batch(0), sampler(**change).batch(0))


def test_passes_differ() -> None:
    source = sampler()
    assert not np.array_equal(source.batch(0), source.batch(source.batches_per_pass))


def test_texts_of_a_batch_are_of_like_length() -> None:
    def spread(source: Sampler) -> float:
        batches = [source.batch(step) for step in range(source.batches_per_pass)]
        return float(np.mean([np.ptp([LENGTHS[int(shard)][row] for shard, row in batch]) for batch in batches]))

    assert spread(sampler(length_window=10)) < 0.4 * spread(sampler(length_window=1))


def test_batches_are_not_in_order_of_length() -> None:
    source = sampler(length_window=20, shuffle_shards=5)
    means = [np.mean([LENGTHS[int(shard)][row] for shard, row in source.batch(step)]) for step in range(20)]
    assert list(means) != sorted(means)


def test_only_shards_in_play_are_needed() -> None:
    source = sampler()
    for step in range(2 * source.batches_per_pass):
        needed = {int(shard) for shard in source.batch(step)[:, 0]}
        assert needed <= source.shards(step)
    assert min(len(source.shards(step)) for step in range(source.batches_per_pass)) <= 2


def test_a_corpus_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(TrainingError, match="too few for a batch of 165"):
        sampler(batch_size=165)
