"""What a recipe requires of its student, beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mtd_ray.errors import EvaluationError
from mtd_ray.evaluate.results import Results, Row

if TYPE_CHECKING:
    from mtd_ray.config import Requirements

# What rounding in a mean of floats may take away.
_TOLERANCE = 1e-9
_UNDEFINED = "a score is undefined (not a number), as a correlation is where all of a model's cosines are equal"


class RequirementError(EvaluationError):
    """The student does not reach what the recipe requires. ``results`` are those of the evaluation."""

    def __init__(self, message: str, results: Results) -> None:
        super().__init__(message)
        self.results = results


def unmet(require: Requirements, results: Results) -> tuple[str, ...]:
    """One line for each requirement that the student, at its default size, does not meet: by how much, or why nobody can tell."""
    student = results.student
    if student is None:
        return ("require: the student was not measured: add tasks to evaluate",) if _requires(require) else ()
    return tuple(
        line for line in (*_shares(require, results, student), *_heads(require, results), *_tasks(require, student)) if line
    )


def _requires(require: Requirements) -> bool:
    return require.retained is not None or require.gap_closed is not None or bool(require.heads or require.tasks)


def _shares(require: Requirements, results: Results, student: Row) -> Iterator[str]:
    best = results.best_teacher
    beside = f"the student's mean is {_points(student.mean)}" + (
        f", teacher {best.name}'s {_points(best.mean)}{_failed(best)}" if best is not None else ""
    )
    if require.retained is not None:
        yield _short("require.retained", results.retained(student), require.retained, f"of the best teacher ({beside})")
    if require.gap_closed is not None:
        found, untrained = results.gap_closed(student), results.untrained
        start = f", untrained {_points(untrained.mean)}" if untrained is not None else ""
        yield _short("require.gap_closed", found, require.gap_closed, f"of the way to the best teacher ({beside}{start})")


def _heads(require: Requirements, results: Results) -> Iterator[str]:
    rows = [row for row in results.whole if row.role == "student"]
    largest = max(rows, key=lambda row: row.size)
    for size, share in sorted(require.heads.items()):
        row = results.student_at(size)
        found = row.mean / largest.mean if row is not None and largest.mean > 0 else None
        beside = f" ({_points(row.mean)} and {_points(largest.mean)})" if row is not None else ""
        yield _short(f"require.heads.{size}", found, share, f"of head {largest.size}{beside}")


def _tasks(require: Requirements, student: Row) -> Iterator[str]:
    for task, needed in require.tasks.items():
        score = student.scores.get(task)
        if score is None:
            yield f"require.tasks.{task}: it was not measured; the tasks are {', '.join(student.scores)}"
        elif math.isnan(score):
            yield f"require.tasks.{task}: {_UNDEFINED}"
        elif not 100 * score >= needed - _TOLERANCE:
            yield f"require.tasks.{task}: {_points(score)} is {needed - 100 * score:.2f} less than {needed:g}"


def _short(where: str, found: float | None, needed: float, of: str) -> str:
    """Empty where enough was found."""
    if found is None:
        return f"{where}: nobody can tell what share {of} it is"
    if math.isnan(found):
        return f"{where}: nobody can tell what share {of} it is: {_UNDEFINED}"
    return "" if found >= needed - _TOLERANCE else f"{where}: {found:.4f} {of} is {needed - found:.4f} less than {needed:g}"


def _failed(teacher: Row) -> str:
    failed = sum(teacher.failed.values())
    return f", too low because it has no vector of {failed:,} texts" if failed else ""


def _points(score: float) -> str:
    return f"{100 * score:.2f}"
