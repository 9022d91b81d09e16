"""Teachers: paid embedding APIs and local models behind one protocol."""

from __future__ import annotations

from mtd_ray.config import LocalTeacher, Teacher
from mtd_ray.teachers.base import (
    AccountError,
    Answer,
    BadAnswer,
    Budget,
    BudgetSpent,
    Limiter,
    RateHints,
    TeacherClient,
    TeacherError,
    TeacherUnavailable,
    Unbudgeted,
    Unlimited,
)

__all__ = [
    "AccountError",
    "Answer",
    "BadAnswer",
    "Budget",
    "BudgetSpent",
    "Limiter",
    "RateHints",
    "TeacherClient",
    "TeacherError",
    "TeacherUnavailable",
    "Unbudgeted",
    "Unlimited",
    "open_teacher",
]


def open_teacher(name: str, config: Teacher, *, limiter: Limiter | None = None, budget: Budget | None = None) -> TeacherClient:
    """The client of one recipe teacher, ready to be asked.

    Args:
        name: the teacher's name in the recipe, used in messages.
        config: its recipe entry.
        limiter: shares the provider's quota with other workers; only teachers behind an API use one.
        budget: the cap on dollars shared with other workers; likewise.

    Raises:
        RecipeError: the key's secret reference leads nowhere.
        TeacherError: a local model cannot be loaded.
    """
    if isinstance(config, LocalTeacher):
        from mtd_ray.teachers.local import LocalTeacherClient

        return LocalTeacherClient(name, config)
    from mtd_ray.teachers.api import ApiTeacherClient

    return ApiTeacherClient(name, config, limiter=limiter or Unlimited(), budget=budget or Unbudgeted())
