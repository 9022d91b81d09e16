"""Intervals of means over tasks, from the intervals of the tasks."""

from __future__ import annotations

import math
from collections.abc import Collection

from mtd_ray.evaluate.results import Results, Row

Interval = tuple[float, float]


def mean_interval(row: Row, tasks: Collection[str]) -> Interval | None:
    """95 % interval of a row's mean over tasks; None where one of them has none.

    Tasks have texts of their own, so their errors are independent and add in squares, each side for itself.
    """
    mean = row.mean_over(tasks)
    if mean is None or any(task not in row.intervals for task in tasks):
        return None
    below = math.hypot(*(row.scores[task] - row.intervals[task][0] for task in tasks)) / len(tasks)
    above = math.hypot(*(row.intervals[task][1] - row.scores[task] for task in tasks)) / len(tasks)
    return mean - below, mean + above


def retained_interval(results: Results, row: Row, teacher: Row) -> Interval | None:
    """The share of a teacher's mean that the ends of the row's own interval are; the teacher's mean is taken as it is."""
    tasks = [task for task in row.scores if task in teacher.scores]
    own, reference = mean_interval(row, tasks), teacher.mean_over(tasks)
    return (own[0] / reference, own[1] / reference) if own and reference and results.retained(row, of=teacher) else None
