"""What is left to harvest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from mtd_ray.config import Recipe, Teacher, nearest, teacher_fingerprint
from mtd_ray.corpus import Manifest, Shard
from mtd_ray.errors import RecipeError
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

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


def require_teachers(recipe: Recipe, names: Sequence[str]) -> None:
    """Raise RecipeError unless the recipe has a teacher of each name."""
    for name in names:
        if name not in recipe.teachers:
            raise RecipeError(f"teachers: the recipe has no teacher {name!r}; {nearest(name, recipe.teachers)}")


def in_random_order(parts: Sequence[Part], random: Random) -> list[Part]:
    """The parts with their shards, and the parts within each shard, in random order.

    Two drivers at work on the same parts then rarely ask for one at the same time, and a worker skips what it finds committed.
    Shards stay together because a worker keeps the shard it has read.
    """
    by_shard: dict[Shard, list[Part]] = {}
    for part in parts:
        by_shard.setdefault(part.shard, []).append(part)
    shards = random.sample(list(by_shard.values()), len(by_shard))
    return [part for shard in shards for part in random.sample(shard, len(shard))]


def plan_harvest(store: ObjectStore, recipe: Recipe, manifest: Manifest, names: Sequence[str]) -> list[Plan]:
    """Plans of the named teachers. Of two names for one teacher (the same fingerprint) only the first has anything pending.

    Raises:
        RecipeError: the recipe has no teacher of such a name.
    """
    require_teachers(recipe, names)
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
