"""Dealing a batch's rows to workers, and a worker's rows to micro-batches."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np


def split_batch(counts: Sequence[int], workers: int, *, packed: bool) -> list[np.ndarray]:
    """Per worker, the positions of its rows by rising length: every row once, every worker at least one, about equal work.

    Args:
        counts: tokens per row.
        workers: at most as many as there are rows.
        packed: whether rows are embedded without padding. A worker's work is then its tokens; otherwise it is taken as its number
            of rows times its longest row, and rows of like length go to the same worker, so that little of it is padding.
    """
    lengths = np.maximum(np.asarray(counts, dtype=np.int64), 1)
    order = np.argsort(lengths, kind="stable")
    if workers == 1:
        return [order]
    return _equal_tokens(lengths, order, workers) if packed else _equal_padded(lengths, order, workers)


def _equal_tokens(lengths: np.ndarray, order: np.ndarray, workers: int) -> list[np.ndarray]:
    """The longest row first, each to the worker with the fewest tokens (R. L. Graham 1969: at most 4/3 of the best)."""
    loads = [(0, worker) for worker in range(workers)]
    chosen: list[list[int]] = [[] for _ in range(workers)]
    for row in order[::-1].tolist():
        load, worker = loads[0]
        chosen[worker].append(row)
        heapq.heapreplace(loads, (load + int(lengths[row]), worker))
    return [np.array(rows[::-1], dtype=np.int64) for rows in chosen]


def _equal_padded(lengths: np.ndarray, order: np.ndarray, workers: int) -> list[np.ndarray]:
    """Cut the rows, sorted by length, so that the largest worker's rows times longest row is as small as can be."""
    costs = lengths[order]
    low, high = 0, int(costs[-1]) * len(order)
    while low < high:
        middle = (low + high) // 2
        if len(_cut(costs, middle, workers)) <= workers:
            high = middle
        else:
            low = middle + 1
    cuts = _cut(costs, high, workers)
    return np.split(order, cuts[1:])


def _cut(costs: np.ndarray, most: int, workers: int) -> list[int]:
    """Where each worker's rows begin when none may cost more than ``most``; the longest rows are dealt first.

    As many single rows are set aside as keep every worker busy.
    """
    starts: list[int] = []
    stop = len(costs)
    while stop > 0:
        left_for_others = max(workers - len(starts) - 1, 0)
        rows = max(1, min(most // int(costs[stop - 1]), stop - left_for_others))
        stop -= rows
        starts.append(stop)
    return starts[::-1]


def split_tokens(counts: Sequence[int], most: int, *, at_least: int = 1) -> list[np.ndarray]:
    """Group rows of like length so that rows × longest row is at most ``most`` tokens; a longer single row stands alone.

    Args:
        counts: tokens per row.
        most: tokens per group.
        at_least: number of groups; the costliest are halved until there are so many, and then empty ones added.
    """
    order = np.argsort(-np.asarray(counts), kind="stable")
    groups, begin = [], 0
    while begin < len(order):
        rows = max(1, most // max(counts[order[begin]], 1))
        groups.append(order[begin : begin + rows])
        begin += rows
    while len(groups) < at_least:
        costs = [len(group) * counts[group[0]] if len(group) > 1 else 0 for group in groups]
        index = int(np.argmax(costs))
        halves = np.array_split(groups[index], 2) if costs[index] else [groups[index], order[:0]]
        groups[index : index + 1] = halves
    return groups
