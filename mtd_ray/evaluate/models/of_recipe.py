"""The models that a recipe's evaluation measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtd_ray import layout
from mtd_ray.evaluate.models.base import Measured
from mtd_ray.evaluate.models.concatenated import ConcatenatedTeachers
from mtd_ray.evaluate.models.exported import ExportedStudent
from mtd_ray.evaluate.models.teacher import MeasuredTeacher

if TYPE_CHECKING:
    from mtd_ray.config import Recipe


def models_of(recipe: Recipe) -> tuple[tuple[Measured, ...], tuple[Measured, ...]]:
    """The student at every size, the untrained student at its default size and, with ``evaluate.baselines``, every teacher that a
    stage learns from; then these side by side, which read the vectors that the single ones leave and so come after them.
    """
    run, student, prompts = recipe.run_name, recipe.student, recipe.evaluate.prompts
    cpus, gpus = recipe.train.num_cpus, recipe.train.num_gpus
    students = (
        ExportedStudent("student", f"mtd-ray/{run}", layout.run_student(run), tuple(sorted(student.heads)), cpus, gpus, prompts),
        ExportedStudent(
            "untrained", f"mtd-ray/{run}-untrained", layout.run_untrained(run), (student.export_head,), cpus, gpus, prompts
        ),
    )
    if not recipe.evaluate.baselines:
        return students, ()
    teachers = tuple(MeasuredTeacher(name, recipe.teachers[name]) for name in recipe.used_teachers)
    return (*students, *teachers), (ConcatenatedTeachers(teachers),) if len(teachers) > 1 else ()
