"""The outcome of an evaluation: one row per model and size, and what the numbers say about the student."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from mtd_ray.errors import TrainingError
from mtd_ray.evaluate.models import Role

_LOG = logging.getLogger(__name__)
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Row:
    """A model at one vector size. ``scores`` maps task name → main score (nDCG@10, 0 to 1)."""

    role: Role
    name: str
    size: int
    scores: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean of the main scores over tasks."""
        return fmean(self.scores.values())

    @property
    def bytes_per_vector(self) -> int:
        """Storage of one float32 vector."""
        return self.size * _FLOAT_BYTES


@dataclass(frozen=True)
class Results:
    """All rows of a run. Without evaluation pairs there are no tasks and no rows.

    ``export_head`` is the student's default size: the student's one row that stands for it.
    """

    run: str
    tasks: tuple[str, ...]
    export_head: int
    rows: tuple[Row, ...]

    @property
    def student(self) -> Row | None:
        """The student at its default size."""
        return next((row for row in self.rows if row.role == "student" and row.size == self.export_head), None)

    @property
    def untrained(self) -> Row | None:
        """The student before its first step, at its default size."""
        return next((row for row in self.rows if row.role == "untrained"), None)

    @property
    def best_teacher(self) -> Row | None:
        """The single teacher with the highest mean."""
        return max((row for row in self.rows if row.role == "teacher"), key=lambda row: row.mean, default=None)

    def retained(self, row: Row) -> float | None:
        """A row's mean as a share of the best teacher's; None without teachers, or when their best is 0."""
        best = self.best_teacher
        return row.mean / best.mean if best and best.mean > 0 else None

    def gap_closed(self, row: Row) -> float | None:
        """How far a row is on the way from the untrained student (0) to the best teacher (1); None where there is no way to go."""
        best, start = self.best_teacher, self.untrained
        if best is None or start is None or best.mean <= start.mean:
            return None
        return (row.mean - start.mean) / (best.mean - start.mean)

    def to_json(self) -> dict[str, Any]:
        """A JSON value: what :meth:`from_json` reads, and the derived numbers for other readers."""
        derived = [
            asdict(row)
            | {
                "mean": row.mean,
                "bytes_per_vector": row.bytes_per_vector,
                "retained": self.retained(row),
                "gap_closed": self.gap_closed(row),
            }
            for row in self.rows
        ]
        return {"run": self.run, "tasks": list(self.tasks), "export_head": self.export_head, "rows": derived}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Results:
        """Read :meth:`to_json`'s value; derived numbers are computed anew."""
        rows = tuple(Row(row["role"], row["name"], row["size"], row["scores"]) for row in value["rows"])
        return cls(value["run"], tuple(value["tasks"]), value["export_head"], rows)


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
            f"{100 * untrained.mean:.2f} (mean nDCG@10 over {len(results.tasks)} tasks, 0 to 100); look at the losses in "
            f"metrics.jsonl, then at stages.*.lr and steps, and whether the corpus is like the evaluation texts"
        )
