"""Angular loss: the angle between a student vector and its target, as a share of the largest possible one.

The slope of arccos is infinite at ±1, where a trained student's cosines are: autograd through it gives infinity times zero. With
the cosine clamped one has either a bounded slope or an exact value, not both, and only half of float32's digits. So the angle is
taken from the diagonals of the rhombus that the unit vectors span, ``arccos(s·t) = 2·atan2(‖s − t‖, ‖s + t‖)``: exact everywhere,
and with a slope that needs no clamp. With respect to a unit vector it has length 1; where both are equal or opposite it is 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mtd_ray.losses.vectors import mean_over_rows, unit_rows


def angular_loss(student: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
    """Mean over the rows of ``arccos(s·t) / π``, with s and t normalised here.

    Args:
        student: ``(m, d)``, any length, any float type; computed in float32 or wider. A row of zeros counts one half.
        target: ``(m, d)``, any length.
        counted: ``(m,)`` bool, the rows that the mean is taken over; None for all.

    Returns:
        A scalar between 0 and 1; 0 when no row counts. The gradient of a student row s is never longer than ``1 / (π·m·‖s‖)``.
    """
    units = unit_rows(student)
    targets = unit_rows(target.to(units.dtype))
    across = torch.linalg.vector_norm(units - targets, dim=-1)
    along = torch.linalg.vector_norm(units + targets, dim=-1)
    return (2.0 / math.pi) * mean_over_rows(torch.atan2(across, along), counted)
