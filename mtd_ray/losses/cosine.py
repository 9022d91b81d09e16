"""Cosine loss (arXiv 2412.19048, equation 1): each student vector points where its target points."""

from __future__ import annotations

from torch import Tensor

from mtd_ray.losses.vectors import unit_rows


def cosine_loss(student: Tensor, target: Tensor) -> Tensor:
    """Mean over the batch of ``1 − s·t``, with s and t normalised here.

    Args:
        student: ``(m, d)``, any length, any float type; computed in float32 or wider. A row of zeros counts 1.
        target: ``(m, d)``, any length.

    Returns:
        A scalar between 0 and 2; 0 for an empty batch.
    """
    units = unit_rows(student)
    cosines = (units * unit_rows(target.to(units.dtype))).sum(dim=-1)
    return (1.0 - cosines).sum() / max(len(cosines), 1)
