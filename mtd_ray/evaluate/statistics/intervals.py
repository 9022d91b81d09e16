"""How sure a score is, and a difference of two scores: bootstrap intervals and permutation tests over a task's items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.statistics.resampling import Floats, Random, Sample, drawn, swapped

_FEWEST_ITEMS = 5
_SWAPS = 10_000
_ROUNDING = 1e-9
_SAME_SCORE = 2e-3  # mteb rounds some of its scores, and a main score may be made of other numbers than the items


@dataclass(frozen=True)
class Difference:
    """The first score less the second, 0 to 1.

    Attributes:
        low, high: its interval; None where the items are too few, or were not kept.
        p: how often chance makes so large a difference, either way, when it decides per item which value is whose; None likewise.
    """

    delta: float
    low: float | None = None
    high: float | None = None
    p: float | None = None


def interval(score: TaskScore, *, level: float = 0.95, draws: int = 1000, seed: int = 0) -> tuple[float, float] | None:
    """The interval that holds the score on other items of this kind with a probability of ``level``; the same for the same seed.

    Percentiles of bootstrap draws, within each of the task's subsets; as wide as a t interval where items are few (T. Hesterberg,
    arXiv 1411.5279, section 5.3: the expanded percentile interval).

    Returns:
        None for fewer than five items, and where the main score is not made of them.
    """
    samples = samples_of(score)
    if not samples:
        return None
    random = np.random.default_rng(seed)
    found = _mean([drawn((sample,), draws, random)[:, 0] for sample in samples])
    return _percentiles(found, level, sum(map(len, samples)), len(samples))


def difference(a: TaskScore, b: TaskScore, *, level: float = 0.95, draws: int = 1000, seed: int = 0) -> Difference:
    """How far ``a`` is above ``b`` on the same items, with its paired interval, and the p value of a permutation test.

    Raises:
        EvaluationError: the two were measured on other items.
    """
    return mean_difference([(a, b)], level=level, draws=draws, seed=seed)


def mean_difference(
    pairs: Sequence[tuple[TaskScore, TaskScore]], *, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> Difference:
    """As :func:`difference`, of two models' means over tasks; ``pairs`` holds both models' scores on each task.

    Raises:
        EvaluationError: the two of a pair were measured on other items.
    """
    delta = float(np.mean([a.main - b.main for a, b in pairs]))
    tasks = [_paired(a, b) for a, b in pairs]
    if not all(tasks):
        return Difference(delta)
    random = np.random.default_rng(seed)
    deltas, chance = (_mean(list(column)) for column in zip(*(_resampled(task, draws, random) for task in tasks), strict=True))
    bounds = _percentiles(deltas, level, sum(len(one) for task in tasks for one, _ in task), sum(map(len, tasks)))
    measured = np.mean([np.mean([one.score - other.score for one, other in task]) for task in tasks])
    extreme = int(np.count_nonzero(~(np.abs(chance) < abs(measured) - _ROUNDING)))
    low, high = bounds or (None, None)
    return Difference(delta, low, high, (1 + extreme) / (1 + len(chance)))


def samples_of(score: TaskScore) -> tuple[Sample, ...]:
    """A score's items, subset by subset; empty where they are fewer than five in all, or the main score is not made of them."""
    found = subsets(score)
    if len(score.items) < _FEWEST_ITEMS or abs(score_of(found) - score.main) > _SAME_SCORE:
        return ()
    return found


def subsets(score: TaskScore, rows: NDArray[np.int64] | None = None) -> tuple[Sample, ...]:
    """A score's items, or some of them, subset by subset."""
    chosen = np.arange(len(score.items)) if rows is None else np.sort(rows)
    items, groups = np.asarray(score.items, np.float64)[chosen], np.asarray(score.groups)[chosen]
    gold = np.asarray(score.gold, np.float64)[chosen] if score.gold else None
    parts = [groups == group for group in dict.fromkeys(groups.tolist())]
    return tuple(Sample(items[part], None if gold is None else gold[part]) for part in parts)


def score_of(samples: Sequence[Sample]) -> float:
    """What :attr:`TaskScore.main` is of these items: the mean over subsets."""
    return float(np.mean([sample.score for sample in samples]))


def _paired(a: TaskScore, b: TaskScore) -> tuple[tuple[Sample, Sample], ...]:
    if a.items and b.items and ((a.kind, a.groups, a.gold) != (b.kind, b.groups, b.gold) or len(a.items) != len(b.items)):
        raise EvaluationError(
            f"two scores cannot be compared, for they are of different items ({len(a.items)} and {len(b.items)}): measure both "
            "models on the same data"
        )
    return tuple(zip(samples_of(a), samples_of(b), strict=False))


def _resampled(task: Sequence[tuple[Sample, Sample]], draws: int, random: Random) -> tuple[Floats, Floats]:
    """Differences ``(draws,)`` of bootstrap draws, and those that chance alone makes; the mean over a task's subsets."""
    deltas, chance = [], []
    for one, other in task:
        both = drawn((one, other), draws, random)
        deltas.append(both[:, 0] - both[:, 1])
        chance.append(swapped(one, other, _SWAPS, random))
    return _mean(deltas), _mean(chance)


def _mean(arrays: Sequence[Floats]) -> Floats:
    return np.asarray(reduce(np.add, arrays) / len(arrays))


def _percentiles(found: Floats, level: float, items: int, subsets: int) -> tuple[float, float] | None:
    """The middle of the draws, made wider: the spread of draws is that of n items over n, not n − 1, and normal, not Student's."""
    found = found[np.isfinite(found)]
    freedom = items - subsets
    if not len(found) or freedom < 1:
        return None
    tail = float(ndtr(stdtrit(freedom, (1 - level) / 2) * (items / freedom) ** 0.5))
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)
