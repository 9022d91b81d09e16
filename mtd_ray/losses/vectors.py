"""What every loss does first: wide numbers, rows of length 1."""

from __future__ import annotations

import torch
from torch import Tensor

_SHORTEST = 1e-12


def unit_rows(vectors: Tensor) -> Tensor:
    """Rows of ``(m, d)`` scaled to length 1, in float32 or wider.

    A row without a direction (shorter than 1e-12) becomes zeros and gets no gradient: there is none that would be right, and the
    quotient's own, 1 over almost nothing, would drown every other row's.
    """
    vectors = widen(vectors)
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / torch.where(lengths > _SHORTEST, lengths, torch.inf)


def mean_over_rows(values: Tensor, counted: Tensor | None) -> Tensor:
    """Mean of ``(m,)`` values over the rows that ``(m,)`` bool ``counted`` names, None for all; 0 when there are none.

    Nothing is picked out by the mask: on a GPU, the host would wait to learn how many there are.
    """
    if counted is None:
        return values.sum() / max(len(values), 1)
    return torch.where(counted, values, 0.0).sum() / counted.sum().clamp(min=1)


def widen(vectors: Tensor) -> Tensor:
    """float16 and bfloat16 become float32; float32 and float64 stay."""
    return vectors if vectors.dtype.itemsize >= 4 else vectors.float()
