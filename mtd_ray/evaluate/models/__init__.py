"""What is measured: students, teachers, all teachers side by side, and any other model in a folder."""

from __future__ import annotations

from mtd_ray.evaluate.models.base import About, Access, Asked, Measured, Published, Role, Side, TextEncoder
from mtd_ray.evaluate.models.concatenated import ConcatenatedTeachers
from mtd_ray.evaluate.models.exported import ExportedStudent
from mtd_ray.evaluate.models.folder import ModelFolder
from mtd_ray.evaluate.models.of_recipe import models_of
from mtd_ray.evaluate.models.opened import opened_student
from mtd_ray.evaluate.models.teacher import MeasuredTeacher

__all__ = [
    "About",
    "Access",
    "Asked",
    "ConcatenatedTeachers",
    "ExportedStudent",
    "Measured",
    "MeasuredTeacher",
    "ModelFolder",
    "Published",
    "Role",
    "Side",
    "TextEncoder",
    "models_of",
    "opened_student",
]
