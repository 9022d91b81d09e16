"""Rows → texts and every teacher's targets, joined by position: no shuffle, no join, no copy of the corpus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtd_ray.distill.batch import Batch
from mtd_ray.distill.sampler import Sampler
from mtd_ray.distill.shards import ShardCache
from mtd_ray.distill.split import split_batch
from mtd_ray.student import tokenize


class BatchReader:
    """Builds the batch of any step.

    Args:
        shards: where texts and targets come from.
        sampler: which rows a step holds.
        tokenizer: of the student.
        max_tokens: where texts are cut.
        prompts: put before a text, by its kind.
        rank, workers: this worker, and how many share a batch.
    """

    def __init__(
        self,
        shards: ShardCache,
        sampler: Sampler,
        tokenizer: Any,
        *,
        max_tokens: int,
        prompts: Mapping[str, str],
        rank: int,
        workers: int,
    ) -> None:
        self._shards, self._sampler, self._tokenizer = shards, sampler, tokenizer
        self._max_tokens, self._prompts = max_tokens, prompts
        self._rank, self._workers = rank, workers

    def batch(self, step: int) -> Batch:
        """The batch of a step of the stage; may read shards from storage first.

        Raises:
            CorpusError, TargetError: a shard or its targets are missing or damaged.
        """
        self._shards.keep(self._sampler.shards(step))
        rows = self._sampler.batch(step)
        lengths = np.array([self._shards.lengths(int(shard))[row] for shard, row in rows])
        shares = split_batch(lengths, self._workers)
        owners = [np.flatnonzero(rows[:, 0] % self._workers == rank) for rank in range(self._workers)]
        blocks, valid = self._targets(rows)
        own = torch.from_numpy(owners[self._rank])
        return Batch(
            ids=[self._cell("id", shard, row) for shard, row in rows],
            shares=shares,
            token_ids=tokenize(self._tokenizer, [self._text(*rows[place]) for place in shares[self._rank]], self._max_tokens),
            pooled=None,
            owners=owners,
            blocks=[block[own] for block in blocks],
            valid=[known[own] for known in valid],
        )

    def _cell(self, column: str, shard: int, row: int) -> str:
        return str(self._shards[int(shard)].table[column][int(row)].as_py())

    def _text(self, shard: int, row: int) -> str:
        return self._prompts.get(self._cell("kind", shard, row), "") + self._cell("text", shard, row)

    def _targets(self, rows: np.ndarray) -> tuple[list[Tensor], list[Tensor]]:
        shards = [int(shard) for shard in np.unique(rows[:, 0])]
        blocks, valid = [], []
        for teacher in range(len(self._shards[shards[0]].targets)):
            vectors, ok = self._shards[shards[0]].targets[teacher]
            block = np.empty((len(rows), vectors.shape[1]), dtype=vectors.dtype)
            known = np.empty(len(rows), dtype=bool)
            for shard in shards:
                vectors, ok = self._shards[shard].targets[teacher]
                inside = rows[:, 0] == shard
                block[inside], known[inside] = vectors[rows[inside, 1]], ok[rows[inside, 1]]
            blocks.append(torch.from_numpy(block))
            valid.append(torch.from_numpy(known))
        return blocks, valid
