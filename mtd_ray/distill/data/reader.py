"""Rows → a worker's batch: token ids or trunk states of its share, and the targets that it owns."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from mtd_ray.distill.data.batch import Batch
from mtd_ray.distill.data.sampler import Integers, Sampler
from mtd_ray.distill.data.shards import ShardLoader, ShardsInPlay
from mtd_ray.distill.data.split import split_batch
from mtd_ray.distill.data.windows import Window, WindowReader, runs


class BatchReader:
    """Builds the batch of a step; the next window is prepared in a thread meanwhile.

    Args:
        sampler: which rows a step holds.
        windows: where they come from.
        shards: told which groups are in play.
        loader: knows the size of targets and states.
        steps: of the stage, as many as are to be done; no window beyond them is prepared.
        rank, workers: this worker, and how many share a batch.
        packed: whether rows are embedded without padding.
        pinned: put batches into page-locked memory, from which a GPU copies while it computes.
    """

    def __init__(
        self,
        sampler: Sampler,
        windows: WindowReader,
        shards: ShardsInPlay,
        loader: ShardLoader,
        *,
        steps: range,
        rank: int,
        workers: int,
        packed: bool,
        pinned: bool,
    ) -> None:
        self._sampler, self._windows, self._shards, self._loader = sampler, windows, shards, loader
        self._rank, self._workers, self._packed, self._pinned = rank, workers, packed, pinned
        self._last = sampler.window(steps[-1])[0]
        self._window: Window | None = None
        self._next: dict[int, Future[Window]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="window")

    def batch(self, step: int) -> Batch:
        """The batch of a step of the stage; the next step's is the cheapest.

        Raises:
            CorpusError, TargetError, TrainingError: a shard, its targets or its states are missing or damaged.
        """
        number, place = self._sampler.window(step)
        window = self._window if self._window is not None and self._window.number == number else self._enter(number)
        rows = window.rows[place]
        owners = _dealt(np.array([window.owners[shard] for shard in rows[:, 0].tolist()]), self._workers)
        own = rows[owners[self._rank]]
        blocks, valid = self._targets(window, own)
        shares, token_ids = owners, []
        if window.token_ids:
            ids = window.token_ids[place]
            shares = split_batch([len(row) for row in ids], self._workers, packed=self._packed)
            token_ids = [ids[row] for row in shares[self._rank].tolist()]
        return Batch(
            ids=[window.shards[shard].ids[row] for shard, row in rows.tolist()],
            shares=shares,
            token_ids=token_ids,
            pooled=None if self._loader.states is None else self._states(window, own, self._loader.states.hidden_size),
            owners=owners,
            blocks=blocks,
            valid=valid,
        )

    def close(self) -> None:
        """Begin nothing more; does not wait for what is under way."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._shards.close()

    def _enter(self, number: int) -> Window:
        self._window = None
        prepared = self._next.pop(number, None)
        window = self._windows.window(number) if prepared is None else prepared.result()
        self._shards.proceed(window.first_group)
        following = number + 1
        self._next = {following: self._thread.submit(self._windows.window, following)} if number < self._last else {}
        self._window = window
        return window

    def _targets(self, window: Window, own: Integers) -> tuple[list[Tensor], list[Tensor]]:
        blocks, valid = [], []
        for teacher, store in enumerate(self._loader.teachers):
            blocks.append(self._empty((len(own), store.dimensions), torch.float16))
            valid.append(self._empty((len(own),), torch.bool))
            _fill(blocks[-1], own, {shard: loaded.targets[teacher][0] for shard, loaded in window.shards.items() if loaded.targets})
            _fill(valid[-1], own, {shard: loaded.targets[teacher][1] for shard, loaded in window.shards.items() if loaded.targets})
        return blocks, valid

    def _states(self, window: Window, own: Integers, hidden_size: int) -> Tensor:
        states = self._empty((len(own), hidden_size), torch.float32)
        _fill(states, own, {shard: loaded.states for shard, loaded in window.shards.items() if loaded.states is not None})
        return states

    def _empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=self._pinned)


def _dealt(workers_of_rows: Integers, workers: int) -> list[Integers]:
    """Per worker, the places of its rows, ascending."""
    order = np.argsort(workers_of_rows, kind="stable")
    return np.split(order, np.searchsorted(workers_of_rows[order], np.arange(1, workers)))


def _fill(tensor: Tensor, rows: Integers, shards: dict[int, np.ndarray]) -> None:
    """Copy rows out of their shards, each once."""
    values, begin = tensor.numpy(), 0
    for shard, chosen in runs(rows):
        # With the default mode numpy copies twice; the rows are those of the shard anyway.
        np.take(shards[shard], chosen, axis=0, out=values[begin : begin + len(chosen)], mode="clip")
        begin += len(chosen)
