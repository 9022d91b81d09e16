"""Which pairs of texts a student puts in the wrong order: counts, exactly, without the matrix of pairs of pairs.

Pairs stand in teacher order, worst first; ``s`` are the student's scores. A pair a is in conflict with a better pair b when
``s_b < s_a + margin``. Both counts of a pair, over its better and over its worse pairs, are range counts: how many of the pairs on
one side of a place have a score below a bound.

One descent of a binary tree over the places answers them all. A node is a run of places, half of it in each child, and lists its
pairs by score. A bound is a number of pairs in that list, so that a running count of the list's right-child pairs gives the bound
in either child, and how many of the sibling's pairs are below it. That is what a place in the left child adds to its count of
better pairs, and one in the right child to its count of worse ones. Log₂P levels of a running sum, a gather and a scatter take
O(P log P) time and O(P) memory. All counts are integers, so that the same input gives the same bits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def count_conflicts(scores: Tensor, tied: Tensor, group: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Per pair, how many better pairs it comes too close to, and how many worse pairs come too close to it.

    Args:
        scores: ``(heads, P)`` a student's score of each pair, in teacher order.
        tied: ``(T,)`` ascending places of the pairs that share their teacher score with another; those carry no order between them.
        group: ``(T,)`` the number of the group of equal teacher score that each belongs to, ascending.
        margin: at least 0.

    Returns:
        Two ``(heads, P)`` int32; both add up to the same number of conflicts.
    """
    if len(tied) == 0:
        return _conflicts(scores, tied, group, margin)
    places = _ties_by_score(scores, tied, group)
    too_high, too_low = _conflicts(scores.gather(1, places), tied, group, margin)
    return torch.empty_like(too_high).scatter_(1, places, too_high), torch.empty_like(too_low).scatter_(1, places, too_low)


def _ties_by_score(scores: Tensor, tied: Tensor, group: Tensor) -> Tensor:
    """``(heads, P)`` places, with those of each group of ties in ascending order of the student's scores."""
    by_score = torch.sort(scores[:, tied], dim=1, stable=True).indices
    by_group = torch.sort(group[by_score], dim=1, stable=True).indices
    places = torch.arange(scores.shape[1], device=scores.device).repeat(len(scores), 1)
    places[:, tied] = tied[by_score.gather(1, by_group)]
    return places


def _conflicts(scores: Tensor, tied: Tensor, group: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """As :func:`count_conflicts`, of scores that ascend within each group of ties."""
    by_score, rank, below, raised = _bounds(scores, margin)
    too_high, spared = _descend(by_score, below, raised)
    too_low = torch.arange(scores.shape[1], dtype=torch.int32, device=scores.device) - spared
    if len(tied) > 0:
        high, low = _conflicts_of_ties(rank[:, tied], below[:, tied], raised[:, tied], group, scores.shape[1])
        too_high[:, tied] -= high
        too_low[:, tied] -= low
    return too_high, too_low


def _bounds(scores: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Places by score; then by place its rank, the scores below its raised one, and the raised ones not above its own."""
    ascending, by_score = torch.sort(scores, dim=1, stable=True)
    below = torch.searchsorted(ascending, ascending + margin)
    ones = torch.ones_like(below)
    raised = F.pad(torch.zeros_like(below), (0, 1)).scatter_add_(1, below, ones).cumsum(dim=1)[:, :-1]
    rank = ones.cumsum(dim=1) - 1
    by_place = [torch.empty_like(values).scatter_(1, by_score, values) for values in (rank, below, raised)]
    return by_score, by_place[0], by_place[1], by_place[2]


def _conflicts_of_ties(rank: Tensor, below: Tensor, raised: Tensor, group: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Per tied pair, its conflicts with the later and with the earlier pairs of its own group: ``(heads, T)`` int32 each."""
    keys = group * (size + 1)
    own = torch.arange(len(group), device=group.device)
    members = (keys + rank).contiguous()
    later = torch.searchsorted(members, keys + below) - own - 1
    earlier = own - torch.searchsorted(members, keys + raised)
    return later.clamp(min=0).int(), earlier.clamp(min=0).int()


def _descend(by_score: Tensor, below: Tensor, raised: Tensor) -> tuple[Tensor, Tensor]:
    """Per place, how many later places rank under ``below``, and how many earlier ones under ``raised``.

    Args:
        by_score: ``(heads, P)`` places by rank.
        below, raised: ``(heads, P)`` by place, numbers of ranks.

    Returns:
        Two ``(heads, P)`` int32.
    """
    heads, size = by_score.shape
    levels = max(size - 1, 0).bit_length()
    width = 1 << levels
    starts = torch.arange(heads, device=by_score.device)[:, None] * width
    pairs = torch.cat([by_score, torch.arange(size, width, device=by_score.device).repeat(heads, 1)], dim=1).int().view(-1)
    bounds = torch.stack([F.pad(bound, (0, width - size)) + starts for bound in (below, raised)]).int()
    later, earlier = pairs.new_zeros(heads * width), pairs.new_zeros(heads * width)
    for level in reversed(range(levels)):
        pairs = _halve(pairs, bounds, later, earlier, level)
    return later.view(heads, width)[:, :size], earlier.view(heads, width)[:, :size]


def _halve(pairs: Tensor, bounds: Tensor, later: Tensor, earlier: Tensor, level: int) -> Tensor:
    """One level down, for all nodes of ``2·2^level`` places.

    Half of every node is in its right child, so that a node that starts at 2h has h right-child pairs before it.

    Args:
        pairs: ``(N,)`` int32, node by node, places by score.
        bounds: ``(2, N)`` int32 by place, where in ``pairs`` its two bounds are; moved to the child of the place.
        later, earlier: ``(N,)`` int32 counts by place; added to.

    Returns:
        The pairs, child by child.
    """
    half = 1 << level
    nodes = len(pairs) // (2 * half)
    is_right = (pairs >> level) & 1
    rights = F.pad(torch.cumsum(is_right, 0, dtype=torch.int32), (1, 0))
    before = torch.arange(nodes, dtype=torch.int32, device=pairs.device)[:, None] * half
    at_bound = rights.index_select(0, bounds.view(-1)).view(2, nodes, 2, half)
    bound = bounds.view(2, nodes, 2, half)
    later.view(nodes, 2, half)[:, 0] += at_bound[0, :, 0] - before
    earlier.view(nodes, 2, half)[:, 1] += bound[1, :, 1] - at_bound[1, :, 1] - before
    bound[:, :, 0] += before - at_bound[:, :, 0]
    bound[:, :, 1] = at_bound[:, :, 1] + (before + half)
    return _part(pairs, is_right, rights[:-1].view(nodes, -1), before, half) if level > 0 else pairs


def _part(pairs: Tensor, is_right: Tensor, rights: Tensor, before: Tensor, half: int) -> Tensor:
    """The pairs of each node, those of its left child first, in unchanged order otherwise."""
    places = torch.arange(len(pairs), dtype=torch.int32, device=pairs.device).view_as(rights)
    left = places - rights + before
    right = rights + (before + half)
    target = torch.addcmul(left, is_right.view_as(left), right - left)
    return torch.empty_like(pairs).scatter_(0, target.view(-1).long(), pairs)
