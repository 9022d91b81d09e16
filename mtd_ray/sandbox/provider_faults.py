"""What the sandbox provider does wrong on purpose, by script or by seeded chance."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

FaultKind = Literal["status", "cut", "stall", "wrong_size", "wrong_count", "nan", "zero", "reorder", "duplicate_index"]


class Fault(BaseModel):
    """One thing that goes wrong.

    It strikes the requests whose numbers (from 1) are in ``at``, every ``every``-th one, a random ``share`` of them, and requests
    holding a text that ``containing`` stands in; with none of these, all of them.

    Kinds: ``status`` answers ``status`` with ``code``; ``cut`` breaks the connection in the middle of the answer; ``stall`` waits
    ``seconds`` before answering; the others answer with damaged vectors (``zero`` and ``nan`` damage the first vector, or those
    of texts that ``containing`` stands in).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FaultKind
    at: tuple[int, ...] = ()
    every: Annotated[int, Field(ge=1)] | None = None
    share: Annotated[float, Field(ge=0, le=1)] | None = None
    containing: str | None = None
    status: int = 500
    code: str = "server_error"
    seconds: float = 1.0
    retry_after: float | None = None

    def strikes(self, number: int, texts: Iterable[str], chance: random.Random) -> bool:
        """Whether it strikes the request of this number."""
        conditions = [number in self.at] if self.at else []
        if self.every is not None:
            conditions.append(number % self.every == 0)
        if self.share is not None:
            conditions.append(chance.random() < self.share)
        if self.containing is not None:
            conditions.append(any(self.containing in text for text in texts))
        return any(conditions) if conditions else True


class FaultPlan:
    """All faults of a server; the same seed and requests give the same faults."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 0) -> None:
        self._faults = tuple(faults)
        self._chance = random.Random(seed)

    def pick(self, number: int, texts: list[str]) -> Fault | None:
        """The first fault that strikes this request."""
        struck = [fault for fault in self._faults if fault.strikes(number, texts, self._chance)]
        return struck[0] if struck else None


def damaged(vectors: NDArray[np.float32], fault: Fault, texts: list[str]) -> tuple[NDArray[np.float32], list[int]]:
    """Vectors ``(rows, dim)`` and their ``index`` values after a fault of an answering kind."""
    vectors, indices = vectors.copy(), list(range(len(vectors)))
    targets = [row for row, text in enumerate(texts) if fault.containing is None or fault.containing in text]
    targets = targets if fault.containing is not None else targets[:1]
    if fault.kind == "wrong_size":
        vectors = np.concatenate([vectors, vectors[:, :1]], axis=1)
    elif fault.kind == "wrong_count":
        vectors, indices = vectors[:-1], indices[:-1]
    elif fault.kind == "nan":
        vectors[targets, 0] = np.nan
    elif fault.kind == "zero":
        vectors[targets] = 0.0
    elif fault.kind == "reorder":
        vectors, indices = vectors[::-1], indices[::-1]
    elif fault.kind == "duplicate_index":
        indices[-1] = 0 if len(indices) > 1 else 1
    return vectors, indices
