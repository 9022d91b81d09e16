"""Vectors of texts, and several models' side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def concatenated(parts: Sequence[Vectors], weights: Sequence[float]) -> Vectors:
    """Several teachers as one: unit vectors side by side, each scaled by the root of its weight; (rows, sum of the sizes).

    The cosine of two such vectors is the weighted mean of the teachers' cosines (arXiv 2412.19048, section 3).
    """
    return np.concatenate([weight**0.5 * unit(part) for part, weight in zip(parts, weights, strict=True)], axis=1)


def unit(vectors: Vectors) -> Vectors:
    """Vectors (rows, dim) scaled to length 1; a row of zeros stays zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
