"""Dollars claimed and spent on the teachers of a recipe, as they stand in storage.

Every incarnation of the budget (a start of the driver or of its actor) owns one object per teacher and overwrites it. What counts
against the cap is the sum over all objects: of a closed one what was spent, of any other what was claimed, so that a crash can
forget nothing. Harvests without a cap claim as well, so that a cap given later counts them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from mtd_ray import layout
from mtd_ray.config import ApiTeacher, Recipe, teacher_fingerprint
from mtd_ray.errors import TargetError
from mtd_ray.objects import ObjectStore


@dataclass(frozen=True)
class Claim:
    """One stored object: US dollars that one incarnation may spend on one teacher, those it has spent, and whether it is over."""

    claimed_usd: float
    spent_usd: float
    closed: bool

    @property
    def counted_usd(self) -> float:
        """What it takes of the cap."""
        return self.spent_usd if self.closed else self.claimed_usd


class Claims:
    """All claims on some teachers' stores.

    Closed claims never change and are read once.

    Raises:
        StorageError: from every method, when storage does not answer.
        TargetError: from every reading method, when a claim is damaged.
    """

    def __init__(self, store: ObjectStore, teachers: Iterable[str]) -> None:
        self._store = store
        self._teachers = tuple(teachers)
        self._closed: dict[str, Claim] = {}

    def write(self, teacher: str, name: str, claim: Claim) -> None:
        """Write an incarnation's claim on a teacher, over its last one."""
        self._store.put(f"{layout.spending(teacher)}/{name}.json", json.dumps(asdict(claim)).encode())

    def counted_usd(self, *, without: str | None = None) -> dict[str, float]:
        """Teacher → dollars of all its claims, except those of the incarnation called ``without``."""
        return {teacher: sum(self._counted(teacher, without)) for teacher in self._teachers}

    def _counted(self, teacher: str, without: str | None) -> Iterable[float]:
        for info in self._store.list(layout.spending(teacher)):
            if info.key.endswith(f"/{without}.json"):
                continue
            claim = self._closed.get(info.key) or self._read(info.key)
            if claim.closed:
                self._closed[info.key] = claim
            yield claim.counted_usd

    def _read(self, key: str) -> Claim:
        try:
            return Claim(**json.loads(self._store.get(key)))
        except (ValueError, TypeError) as error:
            where = f"{self._store.url}/{key}"
            raise TargetError(f"{where} is damaged ({error}): it says what was spent; correct it before spending more") from None


def paid_teachers(recipe: Recipe) -> dict[str, str]:
    """Name → fingerprint of the recipe's API teachers."""
    return {name: teacher_fingerprint(teacher) for name, teacher in recipe.teachers.items() if isinstance(teacher, ApiTeacher)}


def spent_usd(store: ObjectStore, recipe: Recipe) -> dict[str, float]:
    """Name of each API teacher → dollars that count against ``harvest.budget_usd``; of two names for one it is the first's."""
    teachers = paid_teachers(recipe)
    counted = Claims(store, teachers.values()).counted_usd()
    return {name: counted.pop(teacher, 0.0) for name, teacher in teachers.items()}
