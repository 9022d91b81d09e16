"""Intervals hold the truth as often as they say; p values are even when nothing differs; both know ties, subsets and few items."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.statistics.intervals import Difference, difference, interval, mean_difference
from mtd_ray.evaluate.statistics.resampling import Sample


def queries(items: Sequence[float], groups: Sequence[int] | None = None) -> TaskScore:
    groups = groups or [0] * len(items)
    means = [np.mean([item for item, group in zip(items, groups, strict=True) if group == chosen]) for chosen in set(groups)]
    return TaskScore(float(np.mean(means)), "query", tuple(items), (), tuple(groups))


def pairs(cosines: Sequence[float], gold: Sequence[float]) -> TaskScore:
    return TaskScore(float(stats.spearmanr(cosines, gold).statistic), "pair", tuple(cosines), tuple(gold), (0,) * len(gold))


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_mean_s_interval_is_the_textbook_s() -> None:
    items = random(1).random(2_000)
    low, high = interval(queries(items), draws=10_000) or (0, 0)
    expected = stats.t.interval(0.95, 1_999, items.mean(), stats.sem(items))
    assert (low, high) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("size", [8, 60])
def test_intervals_of_means_hold_the_truth_as_often_as_they_say(size: int) -> None:
    held = 0
    for seed in range(300):
        low, high = interval(queries(random(seed).random(size)), draws=300) or (1, 0)
        held += low <= 0.5 <= high
    assert 0.91 <= held / 300 <= 0.98


def test_intervals_of_correlations_hold_the_truth_as_often_as_they_say() -> None:
    truth = 6 / np.pi * np.arcsin(0.8 / 2)  # Spearman's of a normal pair whose Pearson's is 0.8
    held = 0
    for seed in range(100):
        both = random(seed).multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 60)
        low, high = interval(pairs(both[:, 0], both[:, 1]), draws=200) or (1, 0)
        held += low <= truth <= high
    assert 0.89 <= held / 100 <= 0.99


def test_a_draw_of_pairs_with_ties_is_what_scipy_says_of_it() -> None:
    generator = random(3)
    gold, cosines = generator.integers(0, 6, 40) / 5, np.round(generator.random(40), 1)
    places = generator.integers(0, 40, 40)
    sample = Sample(cosines, gold)
    assert sample.score == pytest.approx(stats.spearmanr(cosines, gold).statistic)
    again = sample.score_of(np.bincount(places, minlength=40).astype(float))
    assert again == pytest.approx(stats.spearmanr(cosines[places], gold[places]).statistic)


def test_subsets_count_the_same_whatever_their_size() -> None:
    score = queries([*random(1).random(500), *(0.5 + random(2).random(20) / 2)], [0] * 500 + [1] * 20)
    low, high = interval(score) or (0, 0)
    assert low < score.main < high
    assert high - low > 0.05  # the small subset decides; all 520 queries alike would give 0.05


def test_few_items_unknown_items_and_other_main_scores_have_no_interval() -> None:
    assert interval(queries([0.1, 0.2, 0.3, 0.4])) is None
    assert interval(TaskScore(0.7)) is None
    assert interval(TaskScore(0.7, "query", (0.1,) * 9, (), (0,) * 9)) is None
    assert interval(TaskScore(0.5, "pair", (0.1, 0.2) * 5, (1.0,) * 10, (0,) * 10)) is None  # judged all alike


def test_the_same_seed_gives_the_same_interval() -> None:
    score = queries(random(1).random(50))
    assert interval(score, seed=3) == interval(score, seed=3) != interval(score, seed=4)


def test_difference_of_queries_is_a_paired_test() -> None:
    one = random(1).random(300)
    other = one - 0.01 + random(2).normal(0, 0.05, 300)
    found = difference(queries(one), queries(other))
    expected = stats.ttest_rel(one, other)
    assert found.delta == pytest.approx((one - other).mean())
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()), abs=1e-3)
    assert found.p == pytest.approx(expected.pvalue, abs=2e-3)
    back = difference(queries(other), queries(one))
    assert (back.delta, back.p) == (-found.delta, found.p)


def test_ten_experiments_are_tested_as_by_all_swaps() -> None:
    one, other = random(1).normal(0.8, 0.01, 10), random(2).normal(0.79, 0.01, 10)
    exact = stats.permutation_test((one - other,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert difference(queries(one), queries(other)).p == pytest.approx(exact.pvalue, abs=0.01)


def test_equally_good_models_are_told_apart_no_more_often_than_chance() -> None:
    found = []
    for seed in range(100):
        gold = random(seed).integers(0, 6, 60) / 5
        one, other = (gold + random(seed + shift).normal(0, 0.5, 60) for shift in (1_000, 2_000))
        found.append(difference(pairs(one, gold), pairs(7 * other - 3, gold), draws=2).p)
    assert 0.01 <= np.mean([p is not None and p < 0.05 for p in found]) <= 0.1
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_a_better_correlation_is_found() -> None:
    gold = random(1).integers(0, 26, 1_000) / 5
    one, other = gold + random(2).normal(0, 1, 1_000), gold + random(3).normal(0, 2, 1_000)
    found = difference(pairs(one, gold), pairs(other, gold))
    assert found.p == pytest.approx(1 / 10_001)
    assert found.low is not None
    assert 0 < found.low < found.delta


def test_no_difference_at_all() -> None:
    same = queries([0.0, 1.0] * 10)
    assert difference(same, same) == Difference(0.0, 0.0, 0.0, 1.0)


def test_difference_without_items_is_the_number_alone() -> None:
    assert difference(TaskScore(0.75), TaskScore(0.5)) == Difference(0.25)


def test_other_items_cannot_be_compared() -> None:
    with pytest.raises(EvaluationError, match=r"different items \(6 and 7\)"):
        difference(queries([0.1] * 6), queries([0.1] * 7))
    with pytest.raises(EvaluationError, match="different items"):
        difference(pairs([0.1, 0.2, 0.4, 0.3, 0.5], [1, 2, 3, 4, 5]), pairs([0.1, 0.2, 0.4, 0.3, 0.5], [1, 3, 2, 4, 5]))


def test_mean_over_tasks_is_surer_than_each() -> None:
    tasks = []
    for seed in range(6):
        one = random(seed).random(100)
        tasks.append((queries(one), queries(one - 0.008 + random(seed + 9).normal(0, 0.05, 100))))
    each, mean = [difference(*task) for task in tasks], mean_difference(tasks)
    assert mean.delta == pytest.approx(np.mean([found.delta for found in each]))
    assert mean.p is not None
    assert mean.p < np.median([found.p for found in each if found.p is not None])


def test_ten_thousand_items_take_a_moment() -> None:
    generator = random(1)
    gold = generator.integers(0, 26, 10_000) / 5
    started = time.process_time()
    interval(queries(generator.random(10_000)))
    interval(pairs(gold + generator.random(10_000), gold))
    assert time.process_time() - started < 5  # half a second on an ordinary core
