"""Which rows the batch of a step holds: a pure function of (seed, stage, step), whatever the number of workers.

A pass visits every shard once, in random order. ``shuffle_shards`` shards at a time, a *group*, are pooled and their rows shuffled,
so that only so many need to be in memory. The stream of shuffled rows is cut into *windows* of ``length_window`` batches; inside a
window rows are sorted by length before they are cut into batches, so that a batch holds texts of like length, and the batches are
shuffled again. The rows that do not fill a pass's last batch are left out of that pass; they are others in every pass.

Groups and windows are numbered through all passes, from 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mtd_ray.errors import TrainingError

Integers = npt.NDArray[np.int64]

_SHARDS, _ROWS, _BATCHES = 0, 1, 2


class Sampler:
    """Batches of rows, in three steps: the window of a step, its rows, and their arrangement once their lengths are known.

    Args:
        shard_rows: number of rows per shard.
        batch_size: rows per batch.
        seed: of the recipe.
        stage: position of the stage in the recipe.
        shuffle_shards: how many shards are pooled.
        length_window: how many batches are sorted by length together.

    Attributes:
        groups_per_pass, windows_per_pass, batches_per_pass: of each there are so many in a pass.

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
    ) -> None:
        self.shard_rows = np.asarray(shard_rows, dtype=np.int64)
        self.batch_size = batch_size
        self.shuffle_shards = shuffle_shards
        self.length_window = length_window
        self.batches_per_pass = int(self.shard_rows.sum()) // batch_size
        self.windows_per_pass = -(-self.batches_per_pass // length_window)
        self.groups_per_pass = -(-len(self.shard_rows) // shuffle_shards)
        self._key = (seed, stage)
        self._order: tuple[int, Integers, Integers] | None = None
        self._shuffled: dict[int, Integers] = {}
        if self.batches_per_pass == 0:
            raise TrainingError(
                f"the corpus has {self.shard_rows.sum()} rows, too few for a batch of {batch_size}: lower batch_size or add texts"
            )

    def window(self, step: int) -> tuple[int, int]:
        """The window that a step's batch is cut from, and the batch's place in it."""
        passes, index = divmod(step, self.batches_per_pass)
        window, place = divmod(index, self.length_window)
        return passes * self.windows_per_pass + window, place

    def rows(self, window: int) -> Integers:
        """A window's rows in shuffled order: ``(batches * batch_size, 2)``, shard position and row."""
        begin, end = self._bounds(window)
        _, starts = self._pass(window // self.windows_per_pass)
        parts = []
        for group in self.groups(window):
            start = starts[group % self.groups_per_pass]
            parts.append(self._rows_of(group, max(begin - start, 0), end - start))
        return np.concatenate(parts)

    def arrangement(self, window: int, lengths: npt.NDArray[np.integer] | None = None) -> Integers:
        """How a window's rows are cut into batches: ``(batches, batch_size)`` places in :meth:`rows`.

        Args:
            window: which one.
            lengths: of the rows, in any unit; without them the rows stay in shuffled order.
        """
        begin, end = self._bounds(window)
        order = np.arange(end - begin) if lengths is None else np.argsort(lengths, kind="stable")
        batches = order.reshape(-1, self.batch_size)
        return batches[self._random(_BATCHES, window).permutation(len(batches))]

    def groups(self, window: int) -> range:
        """The groups that a window draws from."""
        passes = window // self.windows_per_pass
        (_, starts), (begin, end) = self._pass(passes), self._bounds(window)
        first, stop = int(np.searchsorted(starts, begin, side="right")) - 1, int(np.searchsorted(starts, end))
        return range(passes * self.groups_per_pass + first, passes * self.groups_per_pass + stop)

    def shards(self, group: int) -> Integers:
        """Positions of a group's shards."""
        passes, index = divmod(group, self.groups_per_pass)
        return self._pass(passes)[0][index * self.shuffle_shards : (index + 1) * self.shuffle_shards]

    def groups_of(self, steps: range) -> range:
        """The groups that consecutive steps draw from; ``steps`` is not empty."""
        return range(self.groups(self.window(steps[0])[0]).start, self.groups(self.window(steps[-1])[0]).stop)

    def shards_of(self, steps: range) -> list[int]:
        """Positions of the shards that consecutive steps draw from, each once, in the order of their first use."""
        return list(dict.fromkeys(int(shard) for group in self.groups_of(steps) for shard in self.shards(group)))

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*self._key, *purpose])

    def _bounds(self, window: int) -> tuple[int, int]:
        """Where a window begins and ends in the stream of its pass's rows."""
        begin = window % self.windows_per_pass * self.length_window
        end = min(begin + self.length_window, self.batches_per_pass)
        return begin * self.batch_size, end * self.batch_size

    def _pass(self, passes: int) -> tuple[Integers, Integers]:
        """The order of a pass's shards, and where its groups begin in the stream of its rows, with the stream's end."""
        if self._order is None or self._order[0] != passes:
            order = self._random(_SHARDS, passes).permutation(len(self.shard_rows))
            sums = np.add.reduceat(self.shard_rows[order], np.arange(0, len(order), self.shuffle_shards))
            self._order = passes, order, np.concatenate([[0], np.cumsum(sums)])
        return self._order[1:]

    def _rows_of(self, group: int, begin: int, end: int) -> Integers:
        """Rows ``begin`` to ``end`` of a group's shuffled rows; shorter where the group ends."""
        shards = self.shards(group)
        starts = np.cumsum([0, *self.shard_rows[shards]])
        if group not in self._shuffled:
            # The group before is still needed by a window that begins in it.
            self._shuffled = {key: order for key, order in self._shuffled.items() if key == group - 1}
            self._shuffled[group] = self._random(_ROWS, group).permutation(starts[-1])
        chosen = self._shuffled[group][begin:end]
        places = np.searchsorted(starts, chosen, side="right") - 1
        return np.stack([shards[places], chosen - starts[places]], axis=1)
