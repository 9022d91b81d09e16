"""Filling the cache of a frozen trunk: all workers together, each its shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from mtd_ray.corpus import Manifest, Shard, read_shard
from mtd_ray.distill.data.sampler import Sampler
from mtd_ray.distill.data.windows import TextEncoder
from mtd_ray.distill.gather import largest
from mtd_ray.distill.trunk.cache import TrunkCache
from mtd_ray.errors import TrainingError
from mtd_ray.objects import ObjectStore

_CHUNK_ROWS = 1024
_WORTH = 2

Embed = Callable[[list[list[int]]], Tensor]


@dataclass(frozen=True)
class _Chunk:
    """Some rows of a shard, ready to be embedded; whether they are its first and its last."""

    shard: Shard
    rows: npt.NDArray[np.int64]
    token_ids: list[list[int]]
    first: bool
    last: bool


def worth_caching(sampler: Sampler, steps: range) -> bool:
    """Whether steps on the cache are cheap enough: filling it embeds whole groups of shards, a short stage but few of their rows.

    True unless filling would embed more than twice as many rows as the steps do. It does not depend on what is cached already, so
    that a resumed run decides as before; ``steps`` are all those that the trunk is frozen for.
    """
    return bool(sampler.shard_rows[sampler.shards_of(steps)].sum() <= _WORTH * len(steps) * sampler.batch_size)


def fill(
    cache: TrunkCache,
    store: ObjectStore,
    manifest: Manifest,
    positions: Sequence[int],
    encoder: TextEncoder,
    *,
    embed: Embed,
    device: torch.device,
    rank: int = 0,
    workers: int = 1,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """Compute and keep the states of every shard that has none. Every worker calls it, and returns when all are done.

    Where nothing is to be done, it costs a LIST: what is stored is checked when it is read.

    The shards are dealt to the workers. A worker that is killed loses at most the shard it is at; the next call goes on there.
    Every worker makes the same number of calls of ``embed``, idle ones if need be, because ZeRO-3 gathers weights in each.

    Args:
        positions: of the shards to fill (:meth:`mtd_ray.distill.data.sampler.Sampler.shards_of`), the same on every worker.
        encoder: gives the texts' tokens; used in a thread.
        embed: token ids per row → pooled states ``(rows, hidden)``.
        device: on which the workers agree.
        rank, workers: this worker, and how many share the work.
        told: called after each shard of this worker with how many are done, and of how many.

    Raises:
        CorpusError: a shard of texts is missing or damaged.
        TrainingError: the trunk gives a state that is not finite; nothing is kept of that shard.
    """
    shards = [manifest.shards[position] for position in positions][rank::workers]
    idle = encoder.encode(pa.array([""]), pa.array(["passage"]))
    chunks = _ahead(_chunks(cache, store, shards, encoder))
    states = np.empty((0, cache.hidden_size), dtype=np.float32)
    while largest(int((chunk := next(chunks, None)) is not None), device):
        with torch.no_grad():
            embedded = embed(idle if chunk is None else chunk.token_ids)
        if chunk is None:
            continue
        if chunk.first:
            states = np.empty((chunk.shard.rows, cache.hidden_size), dtype=np.float32)
        states[chunk.rows] = _finite(embedded, chunk.shard)
        if chunk.last:
            cache.write(chunk.shard, states)
            told(shards.index(chunk.shard) + 1, len(shards))


def _chunks(cache: TrunkCache, store: ObjectStore, shards: Sequence[Shard], encoder: TextEncoder) -> Iterator[_Chunk]:
    """The shards without states, in pieces of texts of like length."""
    for shard in cache.missing(shards):
        table = read_shard(store, shard)
        order = np.argsort(pc.utf8_length(table["text"]).to_numpy(), kind="stable")[::-1]
        for begin in range(0, shard.rows, _CHUNK_ROWS):
            rows = order[begin : begin + _CHUNK_ROWS]
            texts = table.take(pa.array(rows))
            token_ids = encoder.encode(texts["text"], texts["kind"])
            yield _Chunk(shard, rows, token_ids, begin == 0, begin + _CHUNK_ROWS >= shard.rows)


def _ahead(chunks: Iterator[_Chunk]) -> Iterator[_Chunk]:
    """The same chunks, the next one made in a thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="trunk") as thread:
        coming = thread.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = thread.submit(next, chunks, None)
            yield chunk


def _finite(states: Tensor, shard: Shard) -> npt.NDArray[np.float32]:
    if not torch.isfinite(states).all():
        raise TrainingError(
            f"the frozen trunk gives states that are not finite for texts of corpus shard {shard.index} ({shard.key}): "
            "its weights are damaged, or too large for train.dtype"
        )
    values: npt.NDArray[np.float32] = states.float().cpu().numpy()
    return values
