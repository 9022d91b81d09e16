"""Similarity loss (arXiv 2412.19048, equation 2): the student's similarities between texts are the target's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mtd_ray.losses.cosine import widen


def similarity_loss(student: Tensor, target_similarity: Tensor) -> Tensor:
    """Mean squared difference of ``S Sᵀ`` and the target's similarity matrix, over all ``m²`` entries.

    Args:
        student: ``(m, d)`` of any size d and any length; normalised here, in float32 or wider.
        target_similarity: ``(m, m)`` cosines ``T Tᵀ``. NaN marks a pair that no teacher can score; it is left out of the mean.

    Returns:
        A scalar of at least 0.
    """
    student = F.normalize(widen(student), dim=-1)
    difference = student @ student.T - target_similarity.to(student.dtype)
    known = ~torch.isnan(target_similarity)
    return torch.where(known, difference, 0.0).square().sum() / known.sum()
