"""What a vector database keeps of a vector: the form that a view measures, made of the vectors that the model gives.

Each form is float32 vectors → float32 vectors with the values that are left of them. Their cosine is then what a database computes
from the stored codes: for int8 the dot product of the values that the codes stand for (scalar quantisation with a scale per
dimension, as Faiss's SQ8), for binary ``1 − 2 · Hamming distance / size``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.vectors import Vectors, unit
from mtd_ray.evaluate.views import View

Change = Callable[[Vectors], Vectors]
Bases = Mapping[int, NDArray[np.float32]]

_STEPS = 255


@dataclass(frozen=True, eq=False)
class Int8:
    """Scalar quantisation: between the lowest and the highest value of each dimension lie 255 steps.

    The codes are those of ``sentence_transformers.quantize_embeddings(…, "int8")``. ``low`` and ``step`` are (size,).
    """

    low: Vectors
    step: Vectors

    @classmethod
    def calibrated(cls, blocks: Iterable[Vectors]) -> Int8:
        """On vectors (rows, size) in blocks, of which there is at least one; outside their range values are cut off."""
        low, high = reduce(
            lambda one, other: (np.minimum(one[0], other[0]), np.maximum(one[1], other[1])),
            ((block.min(axis=0), block.max(axis=0)) for block in blocks),
        )
        step = (high - low) / np.float32(_STEPS)
        return cls(low, np.where(step > 0, step, np.float32(1)))

    def codes(self, vectors: Vectors) -> NDArray[np.int8]:
        """Vectors (rows, size) as they are stored."""
        steps = np.clip(np.floor((vectors - self.low) / self.step), 0, _STEPS)
        return np.asarray(steps - 128, np.int8)

    def values(self, codes: NDArray[np.int8]) -> Vectors:
        """What the codes (rows, size) stand for: the middle of their step."""
        return np.asarray(self.low + (codes.astype(np.float32) + 128.5) * self.step, np.float32)


def binary(vectors: Vectors) -> Vectors:
    """1 where a number is positive, else −1: what the bits of ``quantize_embeddings(…, "binary")`` stand for."""
    return np.where(vectors > 0, np.float32(1), np.float32(-1))


def made_of(view: View, largest: int) -> int:
    """The size of the vectors that a view is made of; ``largest`` is the model's."""
    return largest if view.derived else view.size


def change_for(view: View, calibration: Callable[[], Iterable[Vectors]], bases: Bases) -> Change:
    """What turns vectors (rows, :func:`made_of`) into a view's (rows, view.size).

    Args:
        calibration: all stored vectors, in blocks of length 1; asked for only by int8.
        bases: size → (largest, size), as :func:`mtd_ray.evaluate.measuring.pca.fit_pca` gives them.

    Raises:
        EvaluationError: a basis is not there or has another shape.
    """
    if view.form == "int8":
        quantised = Int8.calibrated(calibration())
        return lambda vectors: quantised.values(quantised.codes(unit(vectors)))
    if view.form == "pca":
        basis = _basis(view.size, bases)
        return lambda vectors: np.asarray(unit(vectors) @ basis, np.float32)
    changes: dict[str, Change] = {
        "float32": lambda vectors: vectors,
        "cut": lambda vectors: vectors[:, : view.size],
        "binary": binary,
    }
    return changes[view.form]


def _basis(size: int, bases: Bases) -> NDArray[np.float32]:
    basis = bases.get(size)
    if basis is None or basis.shape[1] != size:
        known = ", ".join(f"{size}: {basis.shape}" for size, basis in bases.items()) or "none"
        raise EvaluationError(f"form pca at size {size} needs a basis (largest size, {size}); there are {known}")
    return basis
