"""Which rows the batch of a step holds: a pure function of (seed, stage, step), whatever the number of workers.

A pass visits every shard once, in random order. ``shuffle_shards`` shards at a time are pooled and their rows shuffled, so that
only so many need to be in memory. The stream of shuffled rows is cut into windows of ``length_window`` batches; inside a window
rows are sorted by length before they are cut into batches, so that a batch holds texts of like length, and the batches are
shuffled again. The rows that do not fill a pass's last batch are left out of that pass; they are others in every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mtd_ray.errors import TrainingError

_SHARDS, _ROWS, _BATCHES = 0, 1, 2


class Sampler:
    """Batches of (shard, row).

    Args:
        shard_rows: number of rows per shard.
        batch_size: rows per batch.
        seed: of the recipe.
        stage: position of the stage in the recipe.
        shuffle_shards: how many shards are pooled.
        length_window: how many batches are sorted by length together.
        lengths: text lengths ``(rows,)`` of a shard, asked for only when the shard comes into play.

    Raises:
        TrainingError: there are fewer rows than a batch needs.
    """

    def __init__(
        self,
        shard_rows: Sequence[int],
        *,
        batch_size: int,
        seed: int,
        stage: int,
        shuffle_shards: int,
        length_window: int,
        lengths: Callable[[int], np.ndarray],
    ) -> None:
        self.shard_rows = np.asarray(shard_rows, dtype=np.int64)
        self.batch_size = batch_size
        self.shuffle_shards = shuffle_shards
        self.length_window = length_window
        self.batches_per_pass = int(self.shard_rows.sum()) // batch_size
        self._key = (seed, stage)
        self._lengths = lengths
        self._window: tuple[tuple[int, int], np.ndarray] | None = None
        if self.batches_per_pass == 0:
            raise TrainingError(
                f"the corpus has {self.shard_rows.sum()} rows, too few for a batch of {batch_size}: lower batch_size or add texts"
            )

    def batch(self, step: int) -> np.ndarray:
        """``(batch_size, 2)`` int64: shard position and row."""
        passes, index = divmod(step, self.batches_per_pass)
        window, place = divmod(index, self.length_window)
        if self._window is None or self._window[0] != (passes, window):
            self._window = (passes, window), self._batches(passes, window)
        batch: np.ndarray = self._window[1][place]
        return batch

    def shards(self, step: int) -> set[int]:
        """Shards that the step's window draws from; others can be forgotten."""
        passes, index = divmod(step, self.batches_per_pass)
        groups = self._groups(passes)
        return {int(shard) for group in self._overlap(groups, index // self.length_window) for shard in groups[group]}

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*self._key, *purpose])

    def _groups(self, passes: int) -> list[np.ndarray]:
        order = self._random(_SHARDS, passes).permutation(len(self.shard_rows))
        return [order[begin : begin + self.shuffle_shards] for begin in range(0, len(order), self.shuffle_shards)]

    def _bounds(self, window: int) -> tuple[int, int]:
        begin = window * self.length_window
        end = min(begin + self.length_window, self.batches_per_pass)
        return begin * self.batch_size, end * self.batch_size

    def _starts(self, groups: list[np.ndarray]) -> np.ndarray:
        return np.cumsum([0, *(int(self.shard_rows[group].sum()) for group in groups)])

    def _overlap(self, groups: list[np.ndarray], window: int) -> range:
        starts, (begin, end) = self._starts(groups), self._bounds(window)
        return range(int(np.searchsorted(starts, begin, side="right")) - 1, int(np.searchsorted(starts, end)))

    def _batches(self, passes: int, window: int) -> np.ndarray:
        groups = self._groups(passes)
        starts, (begin, end) = self._starts(groups), self._bounds(window)
        parts = []
        for group in self._overlap(groups, window):
            rows = self._shuffled(groups[group], passes, group)
            parts.append(rows[max(begin - starts[group], 0) : end - starts[group]])
        rows = np.concatenate(parts)
        rows = rows[np.argsort(self._lengths_of(rows), kind="stable")]
        batches = rows.reshape(-1, self.batch_size, 2)
        return batches[self._random(_BATCHES, passes, window).permutation(len(batches))]

    def _shuffled(self, shards: np.ndarray, passes: int, group: int) -> np.ndarray:
        rows = np.concatenate([np.stack([np.full(n, s), np.arange(n)], axis=1) for s in shards for n in [self.shard_rows[s]]])
        return self._random(_ROWS, passes, group).permutation(rows)

    def _lengths_of(self, rows: np.ndarray) -> np.ndarray:
        lengths = np.empty(len(rows), dtype=np.int64)
        for shard in np.unique(rows[:, 0]):
            inside = rows[:, 0] == shard
            lengths[inside] = self._lengths(int(shard))[rows[inside, 1]]
        return lengths
