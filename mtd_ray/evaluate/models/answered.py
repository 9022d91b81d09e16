"""What a teacher answers, on its way into the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mtd_ray.evaluate.models.kept import KeptVectors
from mtd_ray.evaluate.vectors import Vectors

LONGEST_S = 30.0
"""How long, in seconds, an answer waits for others to fill a chunk with: what is paid again at most when a process dies."""


class Answered:
    """Collects answers, and keeps them in full chunks, or after :data:`LONGEST_S` in one that is not full.

    Args:
        clock: gives seconds.
    """

    def __init__(self, kept: KeptVectors, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept, self._clock, self._written = kept, clock, clock()
        self._texts: list[str] = []
        self._vectors: list[Vectors] = []
        self._failures: dict[str, str] = {}

    def add(self, texts: Sequence[str], vectors: Vectors, failures: Mapping[str, str]) -> None:
        """Take texts and their vectors (rows, size); those that failed, by the reason, have none."""
        self._failures |= failures
        for text, vector in zip(texts, vectors, strict=True):
            if text not in failures:
                self._texts.append(text)
                self._vectors.append(vector)

    def keep_due(self) -> None:
        """Keep the chunks that are full, and everything that has waited for long."""
        while len(self._texts) >= self._kept.chunk_rows:
            self._keep_chunk()
        if self._clock() - self._written >= LONGEST_S:
            self.keep()

    def keep(self) -> None:
        """Keep everything."""
        while self._texts:
            self._keep_chunk()
        if self._failures:
            self._kept.keep_failures(self._failures)
            self._failures = {}
        self._written = self._clock()

    def _keep_chunk(self) -> None:
        rows = self._kept.chunk_rows
        self._kept.keep(self._texts[:rows], np.stack(self._vectors[:rows]))
        self._texts, self._vectors = self._texts[rows:], self._vectors[rows:]
