"""What one step needs, as one worker sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One step's batch of m rows.

    Attributes:
        ids: row ids of the whole batch, in batch order.
        shares: per worker, the batch positions of its rows, in the order in which it embeds them; together a permutation.
        token_ids: of this worker's rows, in that order; empty when ``pooled`` is given.
        pooled: of this worker's rows ``(rows, hidden)`` float32, in that order: what the frozen trunk made of them, from its cache.
            None when the trunk is to be run.
        owners: per worker, the batch positions of the rows whose targets it has read, ascending; together a permutation.
        blocks: per teacher, in the order of the stage's teachers, ``(rows this worker has read, dim)`` float16.
        valid: per teacher ``(rows this worker has read,)`` bool.
    """

    ids: list[str]
    shares: list[np.ndarray]
    token_ids: list[list[int]]
    pooled: Tensor | None
    owners: list[np.ndarray]
    blocks: list[Tensor]
    valid: list[Tensor]
