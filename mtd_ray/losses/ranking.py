"""Relative similarity loss (arXiv 2412.19048, equation 3), exact, without the matrix of pairs of pairs.

With P = m(m−1)/2 pairs of texts, the published loss is the mean of ``max(0, s_a − s_b + margin)`` over all pairs of pairs (a, b)
whose teacher scores say ``t_a < t_b``. Written out that is P²/2 terms: 33 million at m = 128.

A term counts only when ``s_b < s_a + margin``, and then it is linear in ``s_a`` and ``s_b``. So value and gradient both follow from
two counts per pair: how many better pairs it comes too close to, and how many worse pairs come too close to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtd_ray.losses.conflicts import count_conflicts
from mtd_ray.losses.vectors import unit_rows


@dataclass(frozen=True)
class PairOrder:
    """The pairs of a batch of m texts, sorted by teacher score: computed once per batch, used by every head.

    Attributes:
        pairs: ``(P,)`` where each pair stands in a flattened ``(m, m)`` matrix, ascending by teacher score.
        tied: ``(T,)`` ascending places in ``pairs`` of those that share their teacher score with another.
        group: ``(T,)`` the number of the group of equal score that each of these belongs to, ascending.
        terms: scalar, the number of pairs of pairs that the teacher orders. Equal scores carry no order and are not counted.
    """

    pairs: Tensor
    tied: Tensor
    group: Tensor
    terms: Tensor

    @classmethod
    def from_similarity(cls, target_similarity: Tensor) -> PairOrder:
        """Sort the pairs above the diagonal of ``(m, m)`` teacher similarities; a pair whose score is NaN is left out."""
        size = len(target_similarity)
        rows, columns = torch.triu_indices(size, size, offset=1, device=target_similarity.device)
        pairs = rows * size + columns
        scores = target_similarity.flatten().index_select(0, pairs)
        known = ~torch.isnan(scores)
        scores, order = torch.sort(scores[known], stable=True)
        like_next = scores[1:] == scores[:-1]
        tied = torch.nonzero(F.pad(like_next, (0, 1)) | F.pad(like_next, (1, 0))).flatten()
        group = torch.cumsum(~F.pad(like_next, (1, 0)), 0)[tied]
        place_in_group = torch.arange(len(tied), device=tied.device) - torch.searchsorted(group, group)
        terms = len(scores) * (len(scores) - 1) // 2 - place_in_group.sum()
        return cls(pairs[known][order], tied, group, terms)


def ranking_loss(student: Tensor, order: PairOrder, margin: float = 0.015) -> Tensor:
    """Mean over the ordered pairs of pairs of ``max(0, s_worse − s_better + margin)``; 0 when the teacher orders none.

    Args:
        student: ``(m, d)`` of any size d and any length; normalised here, in float32 or wider.
        order: of the same batch.
        margin: by how much the better pair must be more similar.

    Returns:
        A scalar of at least 0, in the student's (widened) type.
    """
    return ranking_losses([student], order, margin)[0]


def ranking_losses(students: Sequence[Tensor], order: PairOrder, margin: float = 0.015) -> Tensor:
    """:func:`ranking_loss` of several heads at once, ``(heads,)``: the same numbers in fewer, larger operations."""
    scores = torch.stack([_pair_scores(student, order) for student in students])
    totals: Tensor = _HingeSum.apply(scores.double(), order.tied, order.group, margin)  # type: ignore[no-untyped-call]
    return (totals / order.terms.clamp(min=1)).to(scores.dtype)


def _pair_scores(student: Tensor, order: PairOrder) -> Tensor:
    units = unit_rows(student)
    return (units @ units.T).flatten().index_select(0, order.pairs)


class _HingeSum(torch.autograd.Function):
    """Sum of the hinge terms of ``(heads, P)`` float64 scores that stand in teacher order, by head."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, tied: Tensor, group: Tensor, margin: float) -> Tensor:
        too_high, too_low = count_conflicts(scores, tied, group, margin)
        slope = (too_high - too_low).double()
        ctx.save_for_backward(slope)
        return (scores * slope).sum(dim=1) + margin * too_high.sum(dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        return gradients[0][:, None] * slope, None, None, None
