"""Vectors of a task's texts, of all sizes from one pass, on disk: a text is embedded once however often it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtd_ray.evaluate.models.base import Asked, TextEncoder
from mtd_ray.evaluate.texts import text_digest
from mtd_ray.evaluate.vectors import Vectors

Rows = NDArray[np.int64]

BLOCK_BYTES = 256 * 1024 * 1024
"""Of the vectors that are held in memory at once, wherever not all of them must be."""

_MOST_TEXTS = 8_192


class EmbeddedTexts:
    """Distinct texts that were asked for in one manner, numbered as they came, and their vectors in one file per size.

    Args:
        folder: is there, and empty.
        sizes: of the vectors that are kept.

    Attributes:
        failed: how many of the texts have no vector, only zeros.
    """

    def __init__(self, encoder: TextEncoder, asked: Asked, folder: Path, sizes: Sequence[int]) -> None:
        self.prompt = encoder.prompt(asked)
        self._encoder, self._asked = encoder, asked
        self._files = {size: folder / f"{size}.float32" for size in sizes}
        self._numbers: dict[bytes, int] = {}
        self.failed = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def rows(self, texts: Sequence[str]) -> Rows:
        """The texts' numbers; those that are new are embedded."""
        digests = [text_digest(text) for text in texts]
        new = {found: text for found, text in zip(digests, texts, strict=True) if found not in self._numbers}
        if new:
            self._embed(list(new.values()))
            self._numbers |= {found: len(self) + number for number, found in enumerate(new)}
        return np.fromiter((self._numbers[found] for found in digests), np.int64, len(digests))

    def vectors(self, size: int, rows: Rows) -> Vectors:
        """Vectors (rows, size): those of texts that were new in this order as they lie in the file, others in memory."""
        if len(rows) and (np.diff(rows) == 1).all():
            return np.asarray(self._mapped(size)[rows[0] : rows[-1] + 1])
        return np.asarray(self._mapped(size)[rows])

    def blocks(self, size: int) -> Iterator[Vectors]:
        """All vectors (rows, size) in turn, in blocks of bounded memory."""
        for part in blocks_of(len(self), size):
            yield np.asarray(self._mapped(size)[part])

    def _mapped(self, size: int) -> Vectors:
        # What somebody writes into it is theirs alone and never reaches the file.
        return np.memmap(self._files[size], np.float32, mode="c", shape=(len(self), size))

    def _embed(self, texts: Sequence[str]) -> None:
        step = min(_MOST_TEXTS, rows_in(BLOCK_BYTES, sum(self._encoder.sizes)))
        with ExitStack() as stack:
            files = {size: stack.enter_context(path.open("ab")) for size, path in self._files.items()}
            for start in range(0, len(texts), step):
                found = self._encoder.encode(texts[start : start + step], self._asked)
                self.failed += int((~found[max(found)].any(axis=1)).sum())
                for size, file in files.items():
                    file.write(np.ascontiguousarray(found[size], np.float32).data)


def rows_in(bytes_: int, numbers: int) -> int:
    """How many rows of so many float32 numbers go into so many bytes; at least one."""
    return max(bytes_ // (4 * numbers), 1)


def blocks_of(rows: int, size: int) -> Iterator[slice]:
    """The rows of vectors (rows, size), one block after the other."""
    step = rows_in(BLOCK_BYTES, size)
    for start in range(0, rows, step):
        yield slice(start, start + step)
