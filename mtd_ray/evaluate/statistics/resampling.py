"""What chance could have made of a score: bootstrap draws, and values swapped between two models.

A *sample* is the items of one subset of a task, with what people judged where items are compared with that. Its score is the mean
of the items or, with gold judgements, Spearman's rank correlation (Pearson's of the ranks; equal values share their mean rank).
Values are sorted once and not in every draw: a thousand draws of ten thousand pairs take a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Random = np.random.Generator

_BLOCK = 65_536  # numbers that are computed at once, so that they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Sample:
    """``items`` (n,); ``gold`` (n,), or None where the score is a mean."""

    items: Floats
    gold: Floats | None = None

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def score(self) -> float:
        """NaN for a correlation with something that is everywhere the same."""
        return self.score_of(np.ones(len(self)))

    def score_of(self, times: Floats) -> float:
        """The score when item i stands in the sample ``times[i]`` times, ``(n,)`` with sum n."""
        if self._ranks is None:
            return float(times @ self.items) / len(self)
        items, gold = (ranking.centred(times) for ranking in self._ranks)
        weighted = times * items
        scale = float(weighted @ items) * float(times @ (gold * gold))
        return float(weighted @ gold) / scale**0.5 if scale > 0 else float("nan")

    @cached_property
    def centred_ranks(self) -> tuple[Floats, Floats] | None:
        """Ranks ``(n,)`` of items and of gold, less their mean; None where the score is a mean."""
        if self._ranks is None:
            return None
        items, gold = (ranking.centred(np.ones(len(self))) for ranking in self._ranks)
        return items, gold

    @cached_property
    def _ranks(self) -> tuple[_Ranking, _Ranking] | None:
        return None if self.gold is None else (_Ranking(self.items), _Ranking(self.gold))


class _Ranking:
    """The order of some values, found once, from which their ranks follow however often each value stands there."""

    def __init__(self, values: Floats) -> None:
        self._order = np.argsort(values, kind="stable")
        self._firsts = np.flatnonzero(np.diff(values[self._order], prepend=-np.inf) > 0)
        self._equals = np.diff(self._firsts, append=len(values))

    def centred(self, times: Floats) -> Floats:
        """Ranks less their mean, in the order of the values."""
        counts = np.add.reduceat(times[self._order], self._firsts)
        ranks = np.empty_like(times)
        ranks[self._order] = np.repeat(np.cumsum(counts) - counts / 2 - len(times) / 2, self._equals)
        return ranks


def drawn(samples: tuple[Sample, ...], draws: int, random: Random) -> Floats:
    """Scores of bootstrap draws: as many items as there are, each drawn from all of them.

    Args:
        samples: of the same items, measured in different ways; every draw takes the same items from each.

    Returns:
        ``(draws, len(samples))``.
    """
    size = len(samples[0])
    if all(sample.gold is None for sample in samples):
        items = [sample.items for sample in samples]
        places = (random.integers(0, size, (rows, size)) for rows in _blocks(draws, size))
        return np.concatenate([np.stack([values[block].mean(axis=1) for values in items], axis=1) for block in places])
    scores = np.empty((draws, len(samples)))
    for draw in range(draws):
        times = np.bincount(random.integers(0, size, size), minlength=size).astype(np.float64)
        scores[draw] = [sample.score_of(times) for sample in samples]
    return scores


def swapped(one: Sample, other: Sample, draws: int, random: Random) -> Floats:
    """Differences of two samples' scores when a coin decides, per item, which of the two values is whose.

    If the two were equally good, the difference that was measured would be one of these. Of correlations, ranks are swapped and
    not values: two models' cosines are not on one scale.

    Args:
        one, other: of the same items.

    Returns:
        ``(draws,)``.
    """
    first, second = one.centred_ranks, other.centred_ranks
    if first is None or second is None:
        found = [_swapped_means(one.items - other.items, coins) for coins in _coins(draws, len(one), random)]
    else:
        found = [_swapped_correlations(first[0], second[0], first[1], coins) for coins in _coins(draws, len(one), random)]
    return np.concatenate(found)


def _swapped_means(apart: Floats, coins: Floats) -> Floats:
    return np.asarray(apart.mean() - 2.0 * (coins @ apart) / len(apart))


def _swapped_correlations(one: Floats, other: Floats, gold: Floats, coins: Floats) -> Floats:
    """All three are centred ranks. A swap changes a correlation's three sums by what is added up over the swapped items."""
    changes = (coins @ np.stack([(other - one) * gold, other - one, other**2 - one**2], axis=1)).T
    scale = float(gold @ gold)
    return _correlations(one, gold, changes, scale) - _correlations(other, gold, -changes, scale)


def _correlations(ranks: Floats, gold: Floats, changes: Floats, scale: float) -> Floats:
    products, sums, squares = np.array([[ranks @ gold], [ranks.sum()], [ranks @ ranks]]) + changes
    below = (squares - sums**2 / len(gold)) * scale
    return np.asarray(np.divide(products, np.sqrt(np.maximum(below, 0)), out=np.full_like(products, np.nan), where=below > 0))


def _coins(draws: int, size: int, random: Random) -> Iterator[Floats]:
    """Blocks ``(some draws, size)`` of 0 and 1."""
    for rows in _blocks(draws, size):
        bits = np.frombuffer(random.bytes(rows * -(-size // 8)), np.uint8).reshape(rows, -1)
        yield np.unpackbits(bits, axis=1, count=size).astype(np.float64)


def _blocks(draws: int, size: int) -> Iterator[int]:
    """The number of draws in each block."""
    most = max(1, _BLOCK // size)
    for start in range(0, draws, most):
        yield min(most, draws - start)
