"""Batches are a pure function of seed, stage and step, and hold every row once per pass."""

import numpy as np
import pytest

from mtd_ray.distill.data.sampler import Sampler
from mtd_ray.errors import TrainingError

ROWS = [50, 7, 31, 64, 12]
LENGTHS = [np.random.default_rng(shard).integers(1, 500, rows) for shard, rows in enumerate(ROWS)]


def sampler(**changes: int) -> Sampler:
    options = {"batch_size": 8, "seed": 3, "stage": 1, "shuffle_shards": 2, "length_window": 4} | changes
    return Sampler(ROWS, **options)


def lengths_of(rows: np.ndarray) -> np.ndarray:
    return np.array([LENGTHS[shard][row] for shard, row in rows])


def batch(source: Sampler, step: int) -> np.ndarray:
    window, place = source.window(step)
    rows = source.rows(window)
    return rows[source.arrangement(window, lengths_of(rows))[place]]


def batches_of(source: Sampler, passes: int = 0) -> list[np.ndarray]:
    begin = passes * source.batches_per_pass
    return [batch(source, step) for step in range(begin, begin + source.batches_per_pass)]


def test_a_step_has_the_same_batch_whatever_was_asked_before() -> None:
    in_order = sampler()
    batches = [batch(in_order, step) for step in range(45)]
    for step in (44, 0, 21, 20, 7):
        assert np.array_equal(batch(sampler(), step), batches[step])


@pytest.mark.parametrize("window", [1, 4, 100])
@pytest.mark.parametrize("shards", [1, 2, 100])
def test_a_pass_holds_every_row_at_most_once_and_leaves_out_less_than_a_batch(window: int, shards: int) -> None:
    source = sampler(length_window=window, shuffle_shards=shards)
    for passes in range(3):
        rows = [(int(shard), int(row)) for rows in batches_of(source, passes) for shard, row in rows]
        assert len(rows) == len(set(rows)) > sum(ROWS) - 8
        assert all(row < ROWS[shard] for shard, row in rows)


@pytest.mark.parametrize("change", [{"seed": 4}, {"stage": 0}])
def test_another_seed_or_stage_has_another_order(change: dict[str, int]) -> None:
    assert not np.array_equal(batch(sampler(), 0), batch(sampler(**change), 0))


def test_passes_differ() -> None:
    assert not np.array_equal(batch(sampler(), 0), batch(sampler(), sampler().batches_per_pass))


def test_texts_of_a_batch_are_of_like_length() -> None:
    def spread(source: Sampler) -> float:
        return float(np.mean([np.ptp(lengths_of(rows)) for rows in batches_of(source)]))

    assert spread(sampler(length_window=10)) < 0.4 * spread(sampler(length_window=1))


def test_batches_are_not_in_order_of_length() -> None:
    means = [np.mean(lengths_of(rows)) for rows in batches_of(sampler(length_window=20, shuffle_shards=5))]
    assert list(means) != sorted(means)


def test_without_lengths_a_batch_holds_what_stands_together_in_the_shuffled_stream() -> None:
    source = sampler()
    cut = {frozenset(places) for places in source.arrangement(0).tolist()}
    assert cut == {frozenset(range(begin, begin + 8)) for begin in range(0, 32, 8)}


def test_rows_come_from_the_groups_that_are_told_beforehand() -> None:
    source = sampler()
    for window in range(3 * source.windows_per_pass):
        told = {int(shard) for group in source.groups(window) for shard in source.shards(group)}
        assert set(source.rows(window)[:, 0].tolist()) <= told
        assert len(source.groups(window)) <= 3


def test_a_pass_has_every_shard_in_one_group() -> None:
    source = sampler()
    for passes in range(2):
        groups = range(passes * source.groups_per_pass, (passes + 1) * source.groups_per_pass)
        assert sorted(shard for group in groups for shard in source.shards(group)) == list(range(len(ROWS)))


def test_a_short_run_of_steps_needs_only_its_first_groups() -> None:
    source = sampler(length_window=1)
    assert source.shards_of(range(2)) == source.shards(0).tolist()
    assert sorted(source.shards_of(range(source.batches_per_pass))) == list(range(len(ROWS)))
    assert sorted(source.shards_of(range(100))) == list(range(len(ROWS)))


def test_a_corpus_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(TrainingError, match="too few for a batch of 165"):
        sampler(batch_size=165)
