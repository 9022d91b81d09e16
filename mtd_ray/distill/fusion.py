"""Several teachers' vectors → one target (arXiv 2412.19048, section 3.1).

``t = norm(concat(√w₁·norm(teacher₁), √w₂·norm(teacher₂), …))``. With unit blocks a target cosine is the weighted mean of the
teachers' cosines, so a teacher's weight is its share of the vote. Where a teacher has no vector for a text, the mean is taken over
the teachers that have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Target:
    """What a batch of m texts is distilled towards.

    Attributes:
        vectors: ``(m, D)`` float32 unit rows; zeros in the block of a teacher that has no vector for the row.
        present: ``(m, D)`` bool, False in those blocks; None when every teacher has every row.
        similarity: ``(m, m)`` float32 cosines; NaN for two texts that no teacher has both of.
    """

    vectors: Tensor
    present: Tensor | None
    similarity: Tensor


def fuse(blocks: Sequence[Tensor], valid: Sequence[Tensor], weights: Sequence[float]) -> Target:
    """Fuse per-teacher vectors.

    Args:
        blocks: per teacher ``(m, dim)``, any float type, any length; rows that are not valid are ignored.
        valid: per teacher ``(m,)`` bool; every row is valid for at least one teacher.
        weights: per teacher, above 0.
    """
    units = [F.normalize(block.float(), dim=-1) * ok[:, None] for block, ok in zip(blocks, valid, strict=True)]
    scaled = [unit * weight**0.5 for unit, weight in zip(units, weights, strict=True)]
    vectors = F.normalize(torch.cat(scaled, dim=-1), dim=-1)
    if all(bool(ok.all()) for ok in valid):
        return Target(vectors, None, vectors @ vectors.T)
    present = torch.cat([ok[:, None].expand(-1, block.shape[1]) for block, ok in zip(blocks, valid, strict=True)], dim=-1)
    return Target(vectors, present, _similarity_of_the_present(units, valid, weights))


def _similarity_of_the_present(units: Sequence[Tensor], valid: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    votes = torch.stack([weight * (unit @ unit.T) for unit, weight in zip(units, weights, strict=True)]).sum(dim=0)
    shares = torch.stack([weight * torch.outer(ok.float(), ok.float()) for ok, weight in zip(valid, weights, strict=True)]).sum(
        dim=0
    )
    # 0 / 0 is the NaN that the losses know as "no teacher can score this pair".
    return votes / shares
