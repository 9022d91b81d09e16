"""Vectors of a task's texts, of all sizes from one pass, on disk: a text is embedded once however often it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtd_ray.evaluate.models.base import Asked, TextEncoder
from mtd_ray.evaluate.vectors import Vectors

Rows = NDArray[np.int64]

_BLOCK_BYTES = 256 * 1024 * 1024
_MOST_TEXTS = 8_192


class EmbeddedTexts:
    """Distinct texts that were asked for in one manner, numbered as they came, and their vectors in one file per size.

    Args:
        folder: is there, and empty.
        sizes: of the vectors that are kept.
    """

    def __init__(self, encoder: TextEncoder, asked: Asked, folder: Path, sizes: Sequence[int]) -> None:
        self.prompt = encoder.prompt(asked)
        self._encoder, self._asked = encoder, asked
        self._files = {size: folder / f"{size}.float32" for size in sizes}
        self._numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def rows(self, texts: Sequence[str]) -> Rows:
        """The texts' numbers; those that are new are embedded."""
        digests = [digest(text) for text in texts]
        new = {found: text for found, text in zip(digests, texts, strict=True) if found not in self._numbers}
        if new:
            self._embed(list(new.values()))
            self._numbers |= {found: len(self) + number for number, found in enumerate(new)}
        return np.fromiter((self._numbers[found] for found in digests), np.int64, len(digests))

    def vectors(self, size: int, rows: Rows) -> Vectors:
        """Vectors (rows, size)."""
        return np.asarray(self._mapped(size)[rows])

    def blocks(self, size: int) -> Iterator[Vectors]:
        """All vectors (rows, size) in turn, in blocks of bounded memory."""
        step = rows_in(_BLOCK_BYTES, size)
        for start in range(0, len(self), step):
            yield np.asarray(self._mapped(size)[start : start + step])

    def _mapped(self, size: int) -> Vectors:
        return np.memmap(self._files[size], np.float32, mode="r", shape=(len(self), size))

    def _embed(self, texts: Sequence[str]) -> None:
        step = min(_MOST_TEXTS, rows_in(_BLOCK_BYTES, sum(self._encoder.sizes)))
        with ExitStack() as stack:
            files = {size: stack.enter_context(path.open("ab")) for size, path in self._files.items()}
            for start in range(0, len(texts), step):
                found = self._encoder.encode(texts[start : start + step], self._asked)
                for size, file in files.items():
                    file.write(np.ascontiguousarray(found[size], np.float32).data)


def digest(text: str) -> bytes:
    """What stands for a text, so that millions of long ones need not be held."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def rows_in(bytes_: int, numbers: int) -> int:
    """How many rows of so many float32 numbers go into so many bytes; at least one."""
    return max(bytes_ // (4 * numbers), 1)
