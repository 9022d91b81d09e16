"""What a head's numbers mean must stay what it is: from stage to stage, and in heads that are the beginning of one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from mtd_ray.config.recipe import Recipe

Layout = Sequence[tuple[str, int]]


@dataclass(frozen=True)
class _Use:
    """A head in a stage that compares its numbers with the target's.

    ``layout`` is None for ``target: pca``, whose directions are those of the stage's ``teachers``.
    """

    stage: int
    head: int
    teachers: tuple[str, ...]
    layout: Layout | None

    @property
    def told(self) -> str:
        if self.layout is None:
            return f"the directions (pca) of {' + '.join(self.teachers)}"
        return " + ".join(f"{name} {size}" for name, size in self.layout)


def broken_number_rules(recipe: Recipe) -> Iterator[str]:
    """One line per head whose numbers would have two meanings; for a recipe in which each stage is sound by itself."""
    uses = [
        _Use(index, head, recipe.stage_teachers(stage), recipe.head_layout(stage, head))
        for index, stage in enumerate(recipe.stages)
        for head, losses in sorted(stage.heads.items())
        if losses.is_pointwise
    ]
    nested, told = recipe.student.matryoshka == "nested", set[tuple[int, int]]()
    for before, use in combinations(uses, 2):
        if (before.head != use.head and not nested) or _agree(before, use):
            continue
        line = _in_one_stage(before, use) if before.stage == use.stage else _between_stages(recipe, before, use)
        place = (use.stage, before.head if before.stage == use.stage else use.head)
        if place not in told:
            yield line
        told.add(place)


def _agree(one: _Use, other: _Use) -> bool:
    few, many = sorted((one, other), key=lambda use: use.head)
    if few.layout is None or many.layout is None:
        return few.layout is many.layout and few.teachers == many.teachers
    return _begins(few.layout, many.layout)


def _begins(few: Layout, many: Layout) -> bool:
    """Whether the numbers of one layout are the first ones of another."""
    last = len(few) - 1
    return len(few) <= len(many) and all(
        mine[0] == theirs[0] and (mine[1] == theirs[1] or (index == last and mine[1] < theirs[1]))
        for index, (mine, theirs) in enumerate(zip(few, many, strict=False))
    )


def _in_one_stage(few: _Use, many: _Use) -> str:
    return (
        f"stages.{few.stage}.heads.{few.head}.target: heads are nested, so that this one is the beginning of {many.head}, "
        f"whose target begins with other numbers: {many.told} there, {few.told} here; use only similarity and ranking here, or "
        "student.matryoshka: independent"
    )


def _between_stages(recipe: Recipe, before: _Use, use: _Use) -> str:
    which = "" if before.head == use.head else f".heads.{before.head}"
    whole = recipe.target_dimensions(recipe.used_teachers)
    return (
        f"stages.{use.stage}.heads.{use.head}.target: these numbers meant something else in stages.{before.stage}{which}: "
        f"{before.told} there, {use.told} here, so what was learned there would be lost; use a head of size {whole}, which "
        "keeps a place for each teacher in every stage, the same teachers in both, or only similarity and ranking in one of them"
    )
