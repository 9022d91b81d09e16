"""Vectors made shorter than their model gives them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mtd_ray.teachers.base import Vectors


def shorten(vectors: Vectors, dimensions: int, how: Literal["cut", "fold"], *, normalize: bool) -> Vectors:
    """Vectors (rows, size) → (rows, dimensions), ``dimensions`` ≤ size.

    ``cut`` keeps the first numbers, for models trained with Matryoshka losses (arXiv 2205.13147). ``fold`` splits a vector into
    whole chunks of ``dimensions`` numbers and adds them up, as the teacher without a Matryoshka loss is folded in arXiv 2511.14405
    (the first 3,072 numbers into 1,024); numbers after the last whole chunk are left out.

    Args:
        normalize: scale the result to length 1, as the model does with its own; a zero vector stays zero.
    """
    chunks = vectors.shape[1] // dimensions if how == "fold" else 1
    short: Vectors = vectors[:, : chunks * dimensions].reshape(len(vectors), chunks, dimensions).sum(axis=1)
    if normalize:
        lengths = np.linalg.norm(short, axis=1, keepdims=True)
        short = np.divide(short, lengths, out=np.zeros_like(short), where=lengths != 0)
    return short
