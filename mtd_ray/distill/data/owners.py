"""Which worker reads a shard's targets, so that each is read once, whatever the number of workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mtd_ray.distill.data.sampler import Sampler


class Owners:
    """Deals shards to workers: a pure function of the sampler and the number of workers.

    The shards of a group are dealt so that every worker reads about as many rows. A shard that is in memory keeps its owner: one
    that a pass begins with and the pass before ended with, and every one when all fit into the two groups that memory holds.

    Attributes:
        all_stay: whether all shards fit into those two groups.
    """

    def __init__(self, sampler: Sampler, workers: int) -> None:
        self._sampler, self._workers = sampler, workers
        self.all_stay = len(sampler.shard_rows) <= 2 * sampler.shuffle_shards
        self._fixed = self._dealt(range(len(sampler.shard_rows)), {}) if self.all_stay else None

    def of_group(self, group: int) -> dict[int, int]:
        """Worker by position of a shard, for the shards of a group."""
        shards = [int(shard) for shard in self._sampler.shards(group)]
        if self._fixed is not None:
            return {shard: self._fixed[shard] for shard in shards}
        before: dict[int, int] = {}
        if group and group % self._sampler.groups_per_pass == 0:
            before = self.of_group(group - 1)
        return self._dealt(shards, {shard: before[shard] for shard in shards if shard in before})

    def _dealt(self, shards: Iterable[int], owned: Mapping[int, int]) -> dict[int, int]:
        rows = self._sampler.shard_rows
        owners, loads = dict(owned), np.zeros(self._workers, dtype=np.int64)
        for shard, worker in owned.items():
            loads[worker] += rows[shard]
        for shard in sorted(set(shards) - owners.keys(), key=lambda shard: (-rows[shard], shard)):
            owners[shard] = int(loads.argmin())
            loads[owners[shard]] += rows[shard]
        return owners
