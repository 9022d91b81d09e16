"""Relative similarity loss (arXiv 2412.19048, equation 3), exact, without the matrix of pairs of pairs.

With P = m(m−1)/2 pairs of texts, the published loss is the mean of ``max(0, s_a − s_b + margin)`` over all pairs of pairs (a, b)
whose teacher scores say ``t_a < t_b``. Written out that is P²/2 terms: 33 million at m = 128.

A term counts only when ``s_b < s_a + margin``, and then it is linear in ``s_a`` and ``s_b``. So value and gradient both follow from
two counts per pair: how many better pairs it comes too close to, and how many worse pairs come too close to it. Sorted by teacher
score these are range counts ("how many of the values at positions i…j are below x"), which a wavelet matrix over the ranks of the
student scores answers for all pairs at once: log₂P levels of one cumulative sum and a few gathers, O(P log P) time, O(P) memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtd_ray.losses.vectors import unit_rows


@dataclass(frozen=True)
class PairOrder:
    """The pairs of a batch, sorted by teacher score: computed once per batch, used by every head.

    Attributes:
        rows, columns: ``(P,)`` the two texts of each pair, ascending by teacher score.
        first: ``(P,)`` position of the first pair with the same teacher score.
        after: ``(P,)`` position behind the last pair with the same teacher score.
        terms: scalar, the number of pairs of pairs that the teacher orders. Equal scores carry no order and are not counted.
    """

    rows: Tensor
    columns: Tensor
    first: Tensor
    after: Tensor
    terms: Tensor

    @classmethod
    def from_similarity(cls, target_similarity: Tensor) -> PairOrder:
        """Sort the pairs above the diagonal of ``(m, m)`` teacher similarities; a pair whose score is NaN is left out."""
        size = target_similarity.shape[0]
        rows, columns = torch.triu_indices(size, size, offset=1, device=target_similarity.device)
        scores = target_similarity[rows, columns]
        known = ~torch.isnan(scores)
        scores, order = torch.sort(scores[known], stable=True)
        rows, columns = rows[known][order], columns[known][order]
        first = torch.searchsorted(scores, scores)
        after = torch.searchsorted(scores, scores, right=True)
        return cls(rows, columns, first, after, terms=(len(scores) - after).sum())


def ranking_loss(student: Tensor, order: PairOrder, margin: float = 0.015) -> Tensor:
    """Mean over the ordered pairs of pairs of ``max(0, s_worse − s_better + margin)``; 0 when the teacher orders none.

    Args:
        student: ``(m, d)`` of any size d and any length; normalised here, in float32 or wider.
        order: of the same batch.
        margin: by how much the better pair must be more similar.

    Returns:
        A scalar of at least 0, in the student's (widened) type.
    """
    units = unit_rows(student)
    scores = (units @ units.T)[order.rows, order.columns]
    total: Tensor = _HingeSum.apply(scores.double(), order.first, order.after, margin)  # type: ignore[no-untyped-call]
    return (total / order.terms.clamp(min=1)).to(units.dtype)


class _HingeSum(torch.autograd.Function):
    """Sum of the hinge terms of scores ``(P,)`` float64 that stand in teacher order."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, first: Tensor, after: Tensor, margin: float) -> Tensor:
        too_high, too_low = _conflicts(scores, first, after, margin)
        slope = (too_high - too_low).double()
        ctx.save_for_backward(slope)
        return (scores * slope).sum() + margin * too_high.sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        return gradients[0] * slope, None, None, None


def _conflicts(scores: Tensor, first: Tensor, after: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Per pair, the number of better pairs it comes too close to, and of worse pairs that come too close to it.

    Both counts compare the same two numbers, ``s_b`` and ``s_a + margin``, so that they agree on every term.
    """
    size = len(scores)
    ascending, positions = torch.sort(scores)
    places = torch.arange(size, device=scores.device)
    ranks = torch.empty_like(positions).scatter_(0, positions, places)
    below = torch.searchsorted(ascending, scores + margin)
    raised_up_to = torch.searchsorted(ascending + margin, scores, right=True)

    start = torch.cat([after, torch.zeros_like(first)])
    stop = torch.cat([torch.full_like(after, size), first])
    counts = _count_below(ranks, start, stop, torch.cat([below, raised_up_to]))
    return counts[:size], first - counts[size:]


def _count_below(values: Tensor, start: Tensor, stop: Tensor, limit: Tensor) -> Tensor:
    """For each query q, how many of ``values[start[q]:stop[q]]`` are below ``limit[q]``.

    Args:
        values: ``(P,)`` a permutation of 0…P−1.
        start, stop, limit: ``(Q,)`` with ``0 ≤ start ≤ stop ≤ P`` and ``0 ≤ limit ≤ P``.
    """
    size = len(values)
    places = torch.arange(size, device=values.device)
    count = torch.zeros_like(limit)
    for bit in reversed(range(size.bit_length())):
        is_one = (values >> bit) & 1
        zeros_before = F.pad(torch.cumsum(1 - is_one, 0), (1, 0))
        zeros = zeros_before[-1]
        zero_start, zero_stop = zeros_before[start], zeros_before[stop]
        goes_up = ((limit >> bit) & 1).bool()
        count += torch.where(goes_up, zero_stop - zero_start, 0)
        start = torch.where(goes_up, zeros + start - zero_start, zero_start)
        stop = torch.where(goes_up, zeros + stop - zero_stop, zero_stop)
        target = torch.where(is_one.bool(), zeros + places - zeros_before[:-1], zeros_before[:-1])
        values = torch.empty_like(values).scatter_(0, target, values)
    return count
