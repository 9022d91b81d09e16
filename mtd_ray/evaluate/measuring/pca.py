"""The strongest directions of a model's vectors: what its largest vectors are made shorter with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mtd_ray.directions import fit_basis
from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.vectors import Vectors, unit


def fit_pca(vectors: Vectors, sizes: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    """Per size, the directions of unit vectors that keep their cosines best: those of the second moment, not of the covariance.

    Args:
        vectors: (n, largest), n at least the largest of ``sizes``.
        sizes: each at most ``largest``.

    Returns:
        size → (largest, size), orthonormal columns, strongest first.

    Raises:
        EvaluationError: there are fewer vectors than directions.
    """
    if not sizes:
        return {}
    size = max(sizes)
    if len(vectors) < size:
        raise EvaluationError(f"form pca at size {size} needs vectors of at least as many texts; there are {len(vectors)}")
    basis = fit_basis([torch.from_numpy(unit(vectors))], size).numpy()
    return {one: np.ascontiguousarray(basis[:, :one]) for one in sorted(sizes)}
