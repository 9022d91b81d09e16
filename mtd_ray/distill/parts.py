"""A run in parts: steps that train the same weights with one optimizer. A stage is one part, a progressive stage several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mtd_ray.config import Recipe, Trainable
from mtd_ray.distill.checkpoints.checkpoint import Position


@dataclass(frozen=True)
class Part:
    """Steps ``begin … end − 1`` of stage number ``stage``."""

    stage: int
    begin: int
    end: int
    trainable: Trainable


def parts_from(recipe: Recipe, start: Position) -> Iterator[tuple[Part, int]]:
    """The parts that are not done at ``start``, in order, and the first step to do in each."""
    for part in _parts(recipe):
        if Position(part.stage, part.end) > start:
            inside = start.step if start.stage == part.stage else 0
            yield part, max(part.begin, inside)


def _parts(recipe: Recipe) -> Iterator[Part]:
    for number, stage in enumerate(recipe.stages):
        begins = [begin for begin, _ in stage.parts]
        for (begin, trainable), end in zip(stage.parts, [*begins[1:], stage.steps], strict=True):
            if begin < end:
                yield Part(number, begin, end, trainable)
