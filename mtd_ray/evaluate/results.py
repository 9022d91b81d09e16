"""The outcome of an evaluation: one row per model and view of its vectors, and what the numbers say about the student."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from mtd_ray.config import Form
from mtd_ray.errors import TrainingError
from mtd_ray.evaluate.kept_scores import KeptScore
from mtd_ray.evaluate.models.base import Measured, Role
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.evaluate.views import View

_LOG = logging.getLogger(__name__)

Scores = Mapping[tuple[str, str], Mapping[View, TaskScore]]
"""By the model's label and the task's name, then by view."""


@dataclass(frozen=True)
class MeasuredTask:
    """A task of the results: its name, and its type as mteb names it (``Retrieval``, ``STS``, …)."""

    name: str
    type: str


@dataclass(frozen=True)
class Row:
    """A model in one view of its vectors.

    Attributes:
        scores: task name → main score, 0 to 1. Forms other than float32 are measured on some types of tasks only.
        intervals: task name → the score's 95 % interval (bootstrap over queries, pairs, experiments or sets), where there is one.
        failed: task name → how many of its texts have no vector, which lowers the score; without the tasks that have none such.
    """

    role: Role
    name: str
    size: int
    scores: dict[str, float]
    form: Form = "float32"
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)

    @property
    def view(self) -> View:
        return View(self.size, self.form)

    @property
    def mean(self) -> float:
        """Mean of the main scores over tasks."""
        return fmean(self.scores.values())

    @property
    def bytes_per_vector(self) -> int:
        """Storage of one vector."""
        return self.view.bytes

    def mean_over(self, tasks: Collection[str]) -> float | None:
        """Mean over some tasks; None where it was not measured on all of them, or there are none."""
        found = [self.scores[task] for task in tasks if task in self.scores]
        return fmean(found) if found and len(found) == len(tasks) else None


@dataclass(frozen=True)
class Results:
    """All rows of a run. Without anything to measure on there are no tasks and no rows.

    ``export_head`` is the student's default size: the student's one row that stands for it.
    """

    run: str
    tasks: tuple[MeasuredTask, ...]
    export_head: int
    rows: tuple[Row, ...]

    @property
    def types(self) -> dict[str, tuple[str, ...]]:
        """Type → names of its tasks, in the order of the tasks."""
        found: dict[str, tuple[str, ...]] = {}
        for task in self.tasks:
            found[task.type] = (*found.get(task.type, ()), task.name)
        return found

    def mean_of_types(self, row: Row) -> float | None:
        """mteb's Mean(TaskType): mean over types of the mean over their tasks; None where a task was not measured."""
        means = [row.mean_over(tasks) for tasks in self.types.values()]
        return fmean(mean for mean in means if mean is not None) if means and None not in means else None

    @property
    def whole(self) -> tuple[Row, ...]:
        """The rows in float32, as the models give their vectors: measured on every task."""
        return tuple(row for row in self.rows if row.form == "float32")

    def common_tasks(self, rows: Collection[Row]) -> tuple[str, ...]:
        """Names of the tasks that all of these rows were measured on: over these alone are their means one comparison."""
        return tuple(task.name for task in self.tasks if all(task.name in row.scores for row in rows))

    @property
    def student(self) -> Row | None:
        """The student at its default size."""
        return self.student_at(self.export_head)

    def student_at(self, size: int, form: Form = "float32") -> Row | None:
        """The student in one view."""
        return next((row for row in self.rows if row.role == "student" and (row.size, row.form) == (size, form)), None)

    @property
    def untrained(self) -> Row | None:
        """The student before its first step, at its default size."""
        return next((row for row in self.whole if row.role == "untrained"), None)

    @property
    def teachers(self) -> tuple[Row, ...]:
        return tuple(row for row in self.whole if row.role == "teacher")

    @property
    def best_teacher(self) -> Row | None:
        """The single teacher with the highest mean, of those whose scores are all defined."""
        return max((row for row in self.teachers if not math.isnan(row.mean)), key=lambda row: row.mean, default=None)

    def retained(self, row: Row, *, of: Row | None = None, tasks: Collection[str] | None = None) -> float | None:
        """A row's mean as a share of a teacher's (the best one's by default), over some tasks or all that both were measured on.

        None without a teacher, or when its mean is 0.
        """
        teacher = of or self.best_teacher
        if teacher is None:
            return None
        over = [task for task in (row.scores if tasks is None else tasks) if task in teacher.scores]
        own, reference = row.mean_over(over), teacher.mean_over(over)
        return own / reference if own is not None and reference is not None and reference > 0 else None

    def gap_closed(self, row: Row) -> float | None:
        """How far a row is on the way from the untrained student (0) to the best teacher (1); None where there is no way to go."""
        best, start = self.best_teacher, self.untrained
        if best is None or start is None:
            return None
        low, high = start.mean_over(row.scores), best.mean_over(row.scores)
        return (row.mean - low) / (high - low) if low is not None and high is not None and high > low else None

    def to_json(self) -> dict[str, Any]:
        """A JSON value: what :meth:`from_json` reads, and the derived numbers for other readers."""
        derived = [
            asdict(row)
            | {
                "mean": row.mean,
                "mean_of_types": self.mean_of_types(row),
                "bytes_per_vector": row.bytes_per_vector,
                "retained": self.retained(row),
                "gap_closed": self.gap_closed(row),
            }
            for row in self.rows
        ]
        tasks = [asdict(task) for task in self.tasks]
        return {"run": self.run, "tasks": tasks, "export_head": self.export_head, "rows": derived}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Results:
        """Read :meth:`to_json`'s value; derived numbers are computed anew."""
        rows = tuple(
            Row(
                row["role"], row["name"], row["size"], row["scores"], row["form"],
                {task: (low, high) for task, (low, high) in row["intervals"].items()}, row.get("failed", {}),
            )
            for row in value["rows"]
        )  # fmt: skip
        tasks = tuple(MeasuredTask(task["name"], task["type"]) for task in value["tasks"])
        return cls(value["run"], tasks, value["export_head"], rows)


def rows_of(model: Measured, kept: Mapping[str, KeptScore]) -> list[Row]:
    """A model's rows: a row for each view in which it was measured on any task, the whole vectors first.

    Args:
        kept: what was measured of it, by task name.
    """
    views = sorted({view for score in kept.values() for view in score.scores}, key=lambda view: (view.form != "float32", view))
    rows = []
    for view in views:
        found = {task: score for task, score in kept.items() if view in score.scores}
        scores = {task: score.scores[view].main for task, score in found.items()}
        intervals = {task: score.intervals[view] for task, score in found.items() if view in score.intervals}
        failed = {task: score.scores[view].failed for task, score in found.items() if score.scores[view].failed}
        rows.append(Row(model.role, model.name, view.size, scores, view.form, intervals, failed))
    return rows


def assert_student_improved(results: Results) -> None:
    """Training must have taught something. Without evaluation pairs nothing is known, which is only logged.

    Raises:
        TrainingError: the student at its default size does not score higher than before its first step.
    """
    student, untrained = results.student, results.untrained
    if student is None or untrained is None:
        _LOG.warning("the student was not compared with the untrained student: the recipe gives no evaluation pairs")
        return
    if not student.mean > untrained.mean:
        raise TrainingError(
            f"training did not help: the student scores {100 * student.mean:.2f}, before its first step it scored "
            f"{100 * untrained.mean:.2f} (mean over {len(results.tasks)} tasks, 0 to 100); look at the losses in "
            f"metrics.jsonl, then at stages.*.lr and steps, and whether the corpus is like the evaluation texts"
        )
