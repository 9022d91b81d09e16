"""The shards in play: their texts, and what this worker owns of them, loaded in the background before they are needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mtd_ray.corpus import Manifest, Shard, read_shard
from mtd_ray.distill.data.owners import Owners
from mtd_ray.distill.data.sampler import Sampler
from mtd_ray.objects import ObjectStore

_THREADS = 2
_GROUPS = 2


class Targets(Protocol):
    """One teacher's stored vectors, shard by shard (:class:`mtd_ray.targets.TargetStore`)."""

    dimensions: int

    def read_shard(self, shard: Shard, ids: Sequence[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Vectors ``(rows, dim)`` float16 and which of them are valid ``(rows,)``; the stored ids must be ``ids``."""


class States(Protocol):
    """What a frozen trunk made of the texts, shard by shard (:class:`mtd_ray.distill.trunk.cache.TrunkCache`)."""

    hidden_size: int

    def read_shard(self, shard: Shard) -> npt.NDArray[np.float32]:
        """Pooled states ``(rows, hidden_size)``."""


@dataclass(frozen=True)
class LoadedShard:
    """One shard in memory.

    Attributes:
        ids, texts, kinds: of every row.
        targets: per teacher, vectors ``(rows, dim)`` and which are valid ``(rows,)``; empty on a worker that does not own it.
        states: of the frozen trunk ``(rows, hidden)``; None without a trunk cache, and on a worker that does not own it.
    """

    ids: list[str]
    texts: pa.Array
    kinds: pa.Array
    targets: list[tuple[np.ndarray, np.ndarray]]
    states: npt.NDArray[np.float32] | None


class ShardLoader:
    """Reads shards from storage.

    Args:
        store, manifest: where the texts are.
        teachers: of the stage, in its order.
        states: of the frozen trunk, when the stage trains on its cache.
    """

    def __init__(self, store: ObjectStore, manifest: Manifest, teachers: Sequence[Targets], states: States | None = None) -> None:
        self._store, self._manifest = store, manifest
        self.teachers, self.states = tuple(teachers), states

    def load(self, position: int, owned: bool) -> LoadedShard:
        """A shard's texts, and with ``owned`` its targets and states too.

        Raises:
            CorpusError, TargetError, TrainingError: something is missing, damaged, or belongs to other texts.
        """
        shard = self._manifest.shards[position]
        table = read_shard(self._store, shard)
        ids = table["id"].to_pylist()
        return LoadedShard(
            ids=ids,
            texts=_whole(table["text"]),
            kinds=_whole(table["kind"]),
            targets=[teacher.read_shard(shard, ids) for teacher in self.teachers] if owned else [],
            states=self.states.read_shard(shard) if owned and self.states is not None else None,
        )


class ShardsInPlay:
    """Two groups of the sampler's shards: the one that batches are cut from, and the next one, which is loaded meanwhile.

    So a worker holds at most ``2 * shuffle_shards`` shards, their texts and, divided by the number of workers, their targets: two
    bytes a number, 490 MB for 20,000 rows of 12,288. A group stays until the last window that draws from it has been trained on. A
    corpus of no more shards than that is read once in a stage.

    Args:
        load: position of a shard and whether it is owned → the shard, from storage; called from several threads.
        sampler: whose groups.
        owners: of the shards.
        rank: this worker.
        last_group: of the stage; no further one is loaded.
    """

    def __init__(
        self, load: Callable[[int, bool], LoadedShard], sampler: Sampler, owners: Owners, *, rank: int, last_group: int
    ) -> None:
        self._load, self._sampler, self._owners, self._rank, self._last = load, sampler, owners, rank, last_group
        self._loading: dict[tuple[int, bool], tuple[int, Future[LoadedShard]]] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="shards")

    def group(self, group: int) -> dict[int, LoadedShard]:
        """The shards of a group by position; waits until they are loaded."""
        return {position: future.result() for position, future in self._begin(group).items()}

    def proceed(self, group: int) -> None:
        """Forget what only groups before this one need, and begin to load this one and the next."""
        if not self._owners.all_stay:
            with self._lock:
                self._loading = {key: entry for key, entry in self._loading.items() if entry[0] >= group}
        for ahead in range(group, min(group + _GROUPS, self._last + 1)):
            self._begin(ahead)

    def close(self) -> None:
        """Begin no more reads; does not wait for those under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, group: int) -> dict[int, Future[LoadedShard]]:
        return {
            position: self._future(position, owner == self._rank, group) for position, owner in self._owners.of_group(group).items()
        }

    def _future(self, position: int, owned: bool, group: int) -> Future[LoadedShard]:
        with self._lock:
            needed, future = self._loading.get((position, owned), (group, None))
            if future is None:
                future = self._threads.submit(self._load, position, owned)
            self._loading[position, owned] = max(needed, group), future
        return future


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece, so that rows are taken from it without looking for their chunk."""
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
