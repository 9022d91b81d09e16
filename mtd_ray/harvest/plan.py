"""What is left to harvest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtd_ray.config import Recipe, Teacher, teacher_fingerprint
from mtd_ray.corpus import Manifest
from mtd_ray.objects import ObjectStore
from mtd_ray.targets import Part, parts_of, pending_parts, write_teacher_description


@dataclass(frozen=True)
class Plan:
    """One teacher's parts: all of them, and those that are not committed yet."""

    name: str
    teacher: Teacher
    fingerprint: str
    parts: list[Part]
    pending: list[Part]

    @property
    def pending_rows(self) -> int:
        return sum(part.rows for part in self.pending)


def plan_harvest(store: ObjectStore, recipe: Recipe, manifest: Manifest, names: Sequence[str]) -> list[Plan]:
    """Plans of the named teachers. Of two names for one teacher (the same fingerprint) only the first has anything pending."""
    plans: list[Plan] = []
    for name in names:
        teacher = recipe.teachers[name]
        fingerprint = teacher_fingerprint(teacher)
        description = teacher.model_dump(mode="json", include=set(teacher.identity))
        part_rows = write_teacher_description(store, fingerprint, description, recipe.harvest.part_rows)
        planned = any(plan.fingerprint == fingerprint for plan in plans)
        pending = [] if planned else pending_parts(store, fingerprint, manifest, part_rows)
        plans.append(Plan(name, teacher, fingerprint, parts_of(manifest, part_rows), pending))
    return plans
