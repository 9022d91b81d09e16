"""A served student that can be watched, held up and poisoned."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import Any

import numpy as np

from serve.engine.model import ServedModel, Vector


class Watched(ServedModel):
    """Attributes:
    batches: tokens of each text, per forward pass.
    passing: passes wait for it.
    raises, spoils: texts with one of these token ids make the pass fail, or give a number that is not finite.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.batches: list[list[int]] = []
        self.passing = Event()
        self.passing.set()
        self.raises: set[int] = set()
        self.spoils: set[int] = set()
        super().__init__(*args, **kwargs)
        self.packs = False

    def warm_up(self) -> None:
        """Leaves nothing in ``batches``."""

    def embed(self, ids: Sequence[Sequence[int]], sizes: Sequence[int | None]) -> list[Vector]:
        self.batches.append([len(row) for row in ids])
        assert self.passing.wait(30)
        if any(self.raises & set(row) for row in ids):
            raise RuntimeError("illegal address")
        vectors = super().embed(ids, sizes)
        for row, vector in zip(ids, vectors, strict=True):
            if self.spoils & set(row):
                vector[0] = np.nan
        return vectors
