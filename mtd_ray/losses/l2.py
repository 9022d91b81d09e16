"""L2 loss (LEAF, arXiv 2509.12539): the squared distance between a student vector and its target.

For unit vectors ``‖s − t‖² = 2·(1 − s·t)``, twice the cosine loss, but without that one's cancellation near its minimum.
"""

from __future__ import annotations

from torch import Tensor

from mtd_ray.losses.vectors import mean_over_rows, unit_rows


def l2_loss(student: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
    """Mean over the rows of ``‖s − t‖²``, summed over the d numbers, with s and t normalised here.

    Args:
        student: ``(m, d)``, any length, any float type; computed in float32 or wider. A row of zeros counts 1.
        target: ``(m, d)``, any length.
        counted: ``(m,)`` bool, the rows that the mean is taken over; None for all.

    Returns:
        A scalar between 0 and 4; 0 when no row counts.
    """
    units = unit_rows(student)
    distances = (units - unit_rows(target.to(units.dtype))).square().sum(dim=-1)
    return mean_over_rows(distances, counted)
