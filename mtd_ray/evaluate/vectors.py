"""One model's vectors of a task's texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TaskVectors:
    """One model's vectors of a task's texts, in their order: ``queries`` (queries, dim) and ``passages`` (passages, dim)."""

    queries: Vectors
    passages: Vectors

    @property
    def size(self) -> int:
        """Numbers in a vector."""
        return int(self.queries.shape[1])


def concatenated(parts: Sequence[TaskVectors], weights: Sequence[float]) -> TaskVectors:
    """Several teachers as one: unit vectors side by side, each scaled by the root of its weight.

    The cosine of two such vectors is the weighted mean of the teachers' cosines (arXiv 2412.19048, section 3).
    """
    scales = [weight**0.5 for weight in weights]
    return TaskVectors(
        np.concatenate([scale * unit(part.queries) for part, scale in zip(parts, scales, strict=True)], axis=1),
        np.concatenate([scale * unit(part.passages) for part, scale in zip(parts, scales, strict=True)], axis=1),
    )


def unit(vectors: Vectors) -> Vectors:
    """Vectors (rows, dim) scaled to length 1; a row of zeros stays zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
