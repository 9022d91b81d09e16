"""Scores of the student and of the best teacher on short and on long texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.statistics.intervals import samples_of, subsets
from mtd_ray.evaluate.statistics.resampling import Sample
from mtd_ray.report.data import LengthScore

_BOUNDS = (128, 256, 512, 1024)
_FEWEST_ITEMS = 10
_MOST = np.iinfo(np.int64).max


def length_scores(student: Mapping[str, TaskScore], teacher: Mapping[str, TaskScore]) -> tuple[LengthScore, ...]:
    """Scores by length of the tasks whose items have lengths; both scores by task.

    A group with fewer than ten items, which chance would decide, is joined with the next one. Within a group, a task's subset
    (language) with fewer than ten items is left out for the same reason; a group without any other is left out as a whole.
    """
    return tuple(entry for task, score in student.items() for entry in _of_task(task, score, teacher.get(task)))


def _of_task(task: str, student: TaskScore, teacher: TaskScore | None) -> Iterator[LengthScore]:
    for group in _groups(np.asarray(student.lengths)) if student.lengths else ():
        own = _parts(student, group.rows, of=student)
        score = _mean(own)
        if score is not None:
            beside = None if teacher is None else _mean(_parts(teacher, group.rows, of=student))
            yield LengthScore(task, group.above, group.most, sum(map(len, own)), score, beside)


@dataclass(frozen=True)
class _Group:
    """``rows`` of the items of more than ``above`` tokens, and at most ``most``."""

    above: int
    most: int | None
    rows: NDArray[np.int64]


def _groups(lengths: NDArray[np.int64]) -> list[_Group]:
    """Every row is in one."""
    groups: list[_Group] = []
    above = 0
    for most in (*_BOUNDS, None):
        upper = _MOST if most is None else most
        rows = np.flatnonzero((lengths > above if above else lengths >= 0) & (lengths <= upper))
        if len(rows) >= _FEWEST_ITEMS:
            groups.append(_Group(above, most, rows))
            above = upper
    left = np.flatnonzero(lengths > above) if groups else np.arange(len(lengths))
    if len(left) and groups:
        last = groups.pop()
        return [*groups, _Group(last.above, None, np.concatenate([last.rows, left]))]
    return groups or [_Group(0, None, left)]


def _parts(score: TaskScore, rows: NDArray[np.int64], *, of: TaskScore) -> list[Sample]:
    """The subsets of some items that are large enough; none where the items are not those of ``of``."""
    if not samples_of(score) or (len(score.items), score.gold) != (len(of.items), of.gold):
        return []
    return [part for part in subsets(score, rows) if len(part) >= _FEWEST_ITEMS]


def _mean(parts: Sequence[Sample]) -> float | None:
    """The mean over the subsets where there is something to go by: a correlation needs values that differ."""
    known = [part.score for part in parts if np.isfinite(part.score)]
    return fmean(known) if known else None
