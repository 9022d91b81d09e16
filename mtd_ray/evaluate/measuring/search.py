"""The nearest documents of queries, over any number of documents and queries in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtd_ray.evaluate.measuring.embedded import BLOCK_BYTES, Rows, rows_in
from mtd_ray.evaluate.vectors import Vectors

Found = tuple[list[float], list[int]]
"""Cosines and positions of a query's documents, the largest first."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Texts whose vectors lie on disk.

    Attributes:
        rows: where each lies, (texts,).
        read: such rows → their vectors (rows, size), of length 1.
        size: of a vector.
    """

    rows: Rows
    read: Callable[[Rows], Vectors]
    size: int

    def blocks(self, most: int) -> Iterator[tuple[int, Vectors]]:
        """Number of the first text, and vectors of at most ``most`` texts and a block's bytes."""
        step = max(min(rows_in(BLOCK_BYTES, self.size), most), 1)
        for start in range(0, len(self.rows), step):
            yield start, self.read(self.rows[start : start + step])


def nearest(queries: Stored, documents: Stored, *, most: int, device: str) -> Iterator[Found]:
    """For each query, the ``most`` documents with the largest dot product; documents are read once per block of queries.

    Args:
        device: where products are computed.
    """
    for _, block in queries.blocks(len(queries.rows)):
        best, places = _nearest(torch.from_numpy(block).to(device), documents, most)
        yield from zip(best.cpu().tolist(), places.cpu().tolist(), strict=True)


def _nearest(asked: Tensor, documents: Stored, most: int) -> tuple[Tensor, Tensor]:
    """Products and positions, (queries, at most ``most``) each."""
    best = torch.empty(len(asked), 0, device=asked.device)
    places = torch.empty(len(asked), 0, dtype=torch.int64, device=asked.device)
    for start, block in documents.blocks(rows_in(BLOCK_BYTES, len(asked))):
        products = asked @ torch.from_numpy(block).to(asked.device).T
        found, where = products.topk(min(most, products.shape[1]), dim=1)
        best, places = torch.cat([best, found], dim=1), torch.cat([places, where + start], dim=1)
        best, order = best.topk(min(most, best.shape[1]), dim=1)
        places = places.gather(1, order)
    return best, places


def ranked(
    queries: Stored, names: Sequence[str], candidates: Mapping[str, Sequence[int]], documents: Stored, *, most: int
) -> Iterator[Found]:
    """As :func:`nearest`, of each query's own candidates only, which are read together.

    Args:
        names: of the queries.
        candidates: query's name → positions in ``documents``; a query without any finds nothing.
    """
    for start, block in queries.blocks(len(names)):
        for name, query in zip(names[start : start + len(block)], block, strict=True):
            places = np.asarray(candidates.get(name, ()), np.int64)
            products = documents.read(documents.rows[places]) @ query
            order = np.argsort(-products, kind="stable")[:most]
            yield products[order].tolist(), places[order].tolist()
