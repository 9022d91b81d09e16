"""The shards in play: their texts, and the teachers' targets beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mtd_ray.corpus import Manifest, Shard, read_shard
from mtd_ray.objects import ObjectStore


class Targets(Protocol):
    """One teacher's stored vectors, shard by shard (:class:`mtd_ray.targets.TargetStore`)."""

    def read_shard(self, shard: Shard, ids: Sequence[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Vectors ``(rows, dim)`` float16 and which of them are valid ``(rows,)``; the stored ids must be ``ids``."""


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
