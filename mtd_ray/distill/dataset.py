"""Rows → texts and every teacher's targets, joined by position: no shuffle, no join, no copy of the corpus.

Only the shards that the sampler's current window draws from are in memory. The next batches are prepared in a thread while the
current one trains.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from mtd_ray.corpus import Manifest, Shard, read_shard
from mtd_ray.distill.sampler import Sampler
from mtd_ray.distill.split import split_batch
from mtd_ray.objects import ObjectStore
from mtd_ray.student import tokenize


class Targets(Protocol):
    """One teacher's stored vectors, shard by shard (:class:`mtd_ray.targets.TargetStore`)."""

    def read_shard(self, shard: Shard, ids: Sequence[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Vectors ``(rows, dim)`` float16 and which of them are valid ``(rows,)``; the stored ids must be ``ids``."""


@dataclass(frozen=True)
class Batch:
    """One step's batch, as one worker sees it.

    Attributes:
        ids: row ids of the whole batch, in batch order.
        shares: per worker, the batch positions of its rows, in the order in which it embeds them.
        token_ids: of this worker's rows, in that order.
        blocks: per teacher ``(batch, dim)`` float16, in the order of the stage's teachers.
        valid: per teacher ``(batch,)`` bool.
    """

    ids: list[str]
    shares: list[np.ndarray]
    token_ids: list[list[int]]
    blocks: list[Tensor]
    valid: list[Tensor]


@dataclass(frozen=True)
class _LoadedShard:
    table: pa.Table
    lengths: np.ndarray
    targets: list[tuple[np.ndarray, np.ndarray]]


class ShardCache:
    """The shards in play: texts, their lengths in characters, and the teachers' targets."""

    def __init__(self, store: ObjectStore, manifest: Manifest, teachers: Sequence[Targets]) -> None:
        self._store, self._manifest, self._teachers = store, manifest, teachers
        self._loaded: dict[int, _LoadedShard] = {}

    def __getitem__(self, position: int) -> _LoadedShard:
        if position not in self._loaded:
            self._loaded[position] = self._load(self._manifest.shards[position])
        return self._loaded[position]

    def lengths(self, position: int) -> np.ndarray:
        """Characters per text of a shard."""
        return self[position].lengths

    def keep(self, positions: set[int]) -> None:
        """Forget all shards but these."""
        self._loaded = {position: shard for position, shard in self._loaded.items() if position in positions}

    def _load(self, shard: Shard) -> _LoadedShard:
        table = read_shard(self._store, shard).combine_chunks()
        lengths = pc.utf8_length(table["text"]).to_numpy().astype(np.int64)
        ids = table["id"].to_pylist()
        return _LoadedShard(table, lengths, [teacher.read_shard(shard, ids) for teacher in self._teachers])


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
        blocks, valid = self._targets(rows)
        return Batch(
            ids=[self._cell("id", shard, row) for shard, row in rows],
            shares=shares,
            token_ids=tokenize(self._tokenizer, [self._text(*rows[place]) for place in shares[self._rank]], self._max_tokens),
            blocks=blocks,
            valid=valid,
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


class Prefetcher:
    """Iterates over the batches of consecutive steps, up to ``ahead`` of them prepared in a thread.

    An error in the thread is raised by the iteration, at its place in the sequence.
    """

    def __init__(self, reader: BatchReader, steps: range, *, ahead: int = 3) -> None:
        self._reader, self._steps = reader, steps
        self._ready: queue.Queue[Batch | Exception] = queue.Queue(maxsize=ahead)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="prefetch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Batch]:
        for _ in self._steps:
            item = self._ready.get()
            if isinstance(item, Exception):
                raise item
            yield item

    def _produce(self) -> None:
        for step in self._steps:
            try:
                item: Batch | Exception = self._reader.batch(step)
            except Exception as error:
                item = error
            if not self._deliver(item) or isinstance(item, Exception):
                return

    def _deliver(self, item: Batch | Exception) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False
