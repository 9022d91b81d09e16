"""The nearest documents of queries, over any number of documents in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mtd_ray.evaluate.measuring.embedded import Rows, rows_in
from mtd_ray.evaluate.vectors import Vectors

Read = Callable[[Rows], Vectors]
"""Rows of documents → their vectors (rows, size), of length 1."""

_BLOCK_BYTES = 256 * 1024 * 1024


def nearest(queries: Vectors, documents: Rows, read: Read, *, most: int) -> tuple[Tensor, Tensor]:
    """The ``most`` documents with the largest dot product with each query.

    Args:
        queries: (queries, size), of length 1.
        documents: the documents' rows, (documents,).

    Returns:
        Products and positions in ``documents``, (queries, at most ``most``) each, the largest first.
    """
    device = _device()
    asked = torch.from_numpy(queries).to(device)
    step = max(min(rows_in(_BLOCK_BYTES, queries.shape[1]), rows_in(_BLOCK_BYTES, len(queries))), 1)
    best, places = torch.empty(len(queries), 0, device=device), torch.empty(len(queries), 0, dtype=torch.int64, device=device)
    for start in range(0, len(documents), step):
        block = torch.from_numpy(read(documents[start : start + step])).to(device)
        products = asked @ block.T
        found, where = products.topk(min(most, products.shape[1]), dim=1)
        best, places = torch.cat([best, found], dim=1), torch.cat([places, where + start], dim=1)
        best, order = best.topk(min(most, best.shape[1]), dim=1)
        places = places.gather(1, order)
    return best.cpu(), places.cpu()


def ranked(
    queries: Vectors, names: Sequence[str], candidates: Mapping[str, Sequence[int]], documents: Rows, read: Read, *, most: int
) -> dict[str, tuple[list[float], list[int]]]:
    """As :func:`nearest`, of each query's own candidates only.

    Args:
        names: of the queries.
        candidates: query's name → positions in ``documents``; a query without any finds nothing.

    Returns:
        Query's name → products and positions, the largest first.
    """
    found = {}
    for name, query in zip(names, queries, strict=True):
        places = np.asarray(candidates.get(name, ()), np.int64)
        products = read(documents[places]) @ query
        order = np.argsort(-products, kind="stable")[:most]
        found[name] = products[order].tolist(), places[order].tolist()
    return found


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
