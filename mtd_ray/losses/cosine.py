"""Cosine loss (arXiv 2412.19048, equation 1): each student vector points where its target points."""

from __future__ import annotations

from torch import Tensor

from mtd_ray.losses.vectors import mean_over_rows, unit_rows


def cosine_loss(student: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
    """Mean over the rows of ``1 − s·t``, with s and t normalised here.

    Args:
        student: ``(m, d)``, any length, any float type; computed in float32 or wider. A row of zeros counts 1.
        target: ``(m, d)``, any length.
        counted: ``(m,)`` bool, the rows that the mean is taken over; None for all.

    Returns:
        A scalar between 0 and 2; 0 when no row counts.
    """
    units = unit_rows(student)
    cosines = (units * unit_rows(target.to(units.dtype))).sum(dim=-1)
    return mean_over_rows(1.0 - cosines, counted)
