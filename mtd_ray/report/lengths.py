"""Scores of the student and of the best teacher on short and on long texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.statistics.intervals import samples_of, score_of, subsets
from mtd_ray.report.data import LengthScore

_BOUNDS = (128, 256, 512, 1024)
_FEWEST_ITEMS = 10
_MOST = np.iinfo(np.int64).max


def length_scores(student: Mapping[str, TaskScore], teacher: Mapping[str, TaskScore]) -> tuple[LengthScore, ...]:
    """Scores by length of the tasks whose items have lengths; both scores by task.

    A group with fewer than ten items, which chance would decide, is joined with the next one.
    """
    return tuple(entry for task, score in student.items() for entry in _of_task(task, score, teacher.get(task)))


def _of_task(task: str, student: TaskScore, teacher: TaskScore | None) -> Iterator[LengthScore]:
    for most, rows in _groups(np.asarray(student.lengths)) if student.lengths else ():
        own = _score(student, rows, of=student)
        if own is not None:
            yield LengthScore(task, most, len(rows), own, None if teacher is None else _score(teacher, rows, of=student))


def _groups(lengths: NDArray[np.int64]) -> list[tuple[int | None, NDArray[np.int64]]]:
    """Upper bound and rows of each group; every row is in one."""
    groups: list[tuple[int | None, NDArray[np.int64]]] = []
    above, few = -1, np.empty(0, np.int64)
    for most in (*_BOUNDS, None):
        upper = _MOST if most is None else most
        rows = np.concatenate([few, np.flatnonzero((lengths > above) & (lengths <= upper))])
        above, few = upper, rows
        if len(rows) >= _FEWEST_ITEMS:
            groups.append((most, rows))
            few = few[:0]
    if len(few) and groups:
        groups[-1] = (None, np.concatenate([groups[-1][1], few]))
    return groups or [(None, few)]


def _score(score: TaskScore, rows: NDArray[np.int64], *, of: TaskScore) -> float | None:
    """The score on some items; None where the items are not those of ``of``, or a correlation has nothing to go by."""
    if not samples_of(score) or (len(score.items), score.gold) != (len(of.items), of.gold):
        return None
    found = score_of(subsets(score, rows))
    return found if np.isfinite(found) else None
