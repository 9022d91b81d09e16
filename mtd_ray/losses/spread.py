"""Spread-out regulariser: the vectors of different texts are as nearly orthogonal as those of random directions.

Second-moment term of the global orthogonal regulariser (arXiv 1708.06320), in the form EmbeddingGemma trains with (arXiv
2509.20354): over all pairs of the batch, without the hinge at 1/d below which random directions cannot be told from the student's,
and without the first moment, so that it can be compared between sizes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mtd_ray.losses.vectors import unit_rows


def spread_loss(student: Tensor) -> Tensor:
    """Mean of ``(s_i·s_j)²`` over all pairs i < j of the batch, with s normalised here.

    Random directions in d dimensions give 1/d. A text that stands twice in the batch adds a constant and no gradient, since its two
    vectors are equal.

    Args:
        student: ``(m, d)``, any length, any float type; computed in float32 or wider. A row of zeros counts as orthogonal to all.

    Returns:
        A scalar between 0 and 1; 0 for a batch of fewer than two rows.
    """
    units = unit_rows(student)
    rows = len(units)
    above_the_diagonal = torch.triu(units @ units.T, diagonal=1)
    return above_the_diagonal.square().sum() / max(rows * (rows - 1) // 2, 1)
