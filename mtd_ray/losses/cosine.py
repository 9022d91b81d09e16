"""Cosine loss (arXiv 2412.19048, equation 1): each student vector points where its target points."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cosine_loss(student: Tensor, target: Tensor) -> Tensor:
    """Mean over the batch of ``1 − s·t``, with s and t normalised here.

    Args:
        student: ``(m, d)``, any length, any float type; computed in float32 or wider.
        target: ``(m, d)``, any length.

    Returns:
        A scalar between 0 and 2.
    """
    student = F.normalize(widen(student), dim=-1)
    target = F.normalize(target.to(student.dtype), dim=-1)
    return (1.0 - (student * target).sum(dim=-1)).mean()


def widen(vectors: Tensor) -> Tensor:
    """float16 and bfloat16 become float32; float32 and float64 stay."""
    return vectors if vectors.dtype.itemsize >= 4 else vectors.float()
