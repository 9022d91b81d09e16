"""L2 loss (LEAF, arXiv 2509.12539): the squared distance between a student vector and its target.

For unit vectors ``‖s − t‖² = 2·(1 − s·t)``, twice the cosine loss, but without that one's cancellation near its minimum.
"""

from __future__ import annotations

from torch import Tensor

from mtd_ray.losses.vectors import unit_rows


def l2_loss(student: Tensor, target: Tensor) -> Tensor:
    """Mean over the batch of ``‖s − t‖²``, summed over the d numbers, with s and t normalised here.

    Args:
        student: ``(m, d)``, any length, any float type; computed in float32 or wider. A row of zeros counts 1.
        target: ``(m, d)``, any length.

    Returns:
        A scalar between 0 and 4; 0 for an empty batch.
    """
    units = unit_rows(student)
    distances = (units - unit_rows(target.to(units.dtype))).square().sum(dim=-1)
    return distances.sum() / max(len(distances), 1)
