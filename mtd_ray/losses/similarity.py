"""Similarity loss (arXiv 2412.19048, equation 2): the student's similarities between texts are the target's."""

from __future__ import annotations

import torch
from torch import Tensor

from mtd_ray.losses.vectors import unit_rows


def similarity_loss(student: Tensor, target_similarity: Tensor) -> Tensor:
    """Mean squared difference of ``S Sᵀ`` and the target's similarity matrix, over all ``m²`` entries.

    Args:
        student: ``(m, d)`` of any size d and any length; normalised here, in float32 or wider.
        target_similarity: ``(m, m)`` cosines ``T Tᵀ``. NaN marks a pair that no teacher can score; it is left out of the mean.

    Returns:
        A scalar of at least 0; 0 when every pair is unknown.
    """
    units = unit_rows(student)
    difference = units @ units.T - target_similarity.to(units.dtype)
    known = ~torch.isnan(target_similarity)
    return torch.where(known, difference, 0.0).square().sum() / known.sum().clamp(min=1)
