"""Combinations in a stage that no single type can refuse: a head of the wrong size, a stage that trains nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from mtd_ray.config.nearest import nearest
from mtd_ray.config.recipe import Recipe
from mtd_ray.config.rules_numbers import broken_number_rules
from mtd_ray.config.stages import HeadLosses, LastLayers, LayerRange, StageConfig, Trainable


def broken_stage_rules(recipe: Recipe) -> Iterator[str]:
    """One line per impossible combination in a stage: key, what is wrong, what would be right."""
    faults = [*_each_stage(recipe)]
    yield from faults or broken_number_rules(recipe)


def _each_stage(recipe: Recipe) -> Iterator[str]:
    names = [stage.name for stage in recipe.stages]
    for index, stage in enumerate(recipe.stages):
        where = f"stages.{index}"
        if names.count(stage.name) > 1:
            yield f"{where}.name: {stage.name!r} stands twice; stages need different names"
        teacher_faults = list(_teachers(recipe, stage, where))
        yield from teacher_faults or _targets(recipe, stage, where)
        yield from _losses(stage, where)
        yield from _trainable(recipe, stage, where)
        yield from _steps(recipe, stage, where)


def _teachers(recipe: Recipe, stage: StageConfig, where: str) -> Iterator[str]:
    for name in stage.teachers or ():
        if name not in recipe.teachers:
            yield f"{where}.teachers: there is no teacher {name!r}; {nearest(name, recipe.teachers)}"
    if stage.teachers is not None and len(set(stage.teachers)) != len(stage.teachers):
        yield f"{where}.teachers: the same teacher stands twice in {list(stage.teachers)}"
    if stage.teachers == ():
        yield f"{where}.teachers: a stage needs at least one teacher; leave the key out to use all"


def _targets(recipe: Recipe, stage: StageConfig, where: str) -> Iterator[str]:
    for head, losses in stage.heads.items():
        yield from _target(recipe, stage, head, losses, f"{where}.heads.{head}")
    largest = max(recipe.student.heads)
    if recipe.student.matryoshka == "nested" and stage.weight_decay > 0 and largest not in stage.heads:
        yield (
            f"{where}.heads: the student's heads are nested, and what only the largest one uses would shrink under weight_decay "
            f"without being trained; add {largest}, at least with similarity, or write weight_decay: 0"
        )


def _target(recipe: Recipe, stage: StageConfig, head: int, losses: HeadLosses, where: str) -> Iterator[str]:
    if head not in recipe.student.heads:
        yield f"{where}: the student has no such head; it has {list(recipe.student.heads)}"
    if losses.target != "whole" and losses.weights and not losses.is_pointwise:
        yield (
            f"{where}.target: {losses.target} changes nothing here, since only cosine, angular and l2 compare a vector with the "
            "target's numbers; raise one of them above 0, or leave target out"
        )
    size = recipe.target_dimensions(recipe.stage_teachers(stage))
    if losses.target == "pca" and losses.is_pointwise and head > size:
        yield f"{where}.target: the stage's target has only {size} directions, not {head}; use a head of at most {size}"
    try:
        recipe.head_layout(stage, head)
    except ValueError as error:
        others = (
            "a head of another size, or target: pca"
            if losses.target == "cut"
            else "a head of that size, target: pca or target: cut"
        )
        yield f"{where}: {error}; use {others}, or only similarity and ranking here"


def _losses(stage: StageConfig, where: str) -> Iterator[str]:
    for head, losses in stage.heads.items():
        if not losses.weights:
            yield f"{where}.heads.{head}: every loss weight is 0, so this trains nothing; raise one above 0 or leave the head out"
        elif losses.weights.keys() == {"spread"}:
            yield f"{where}.heads.{head}: spread alone learns nothing from the teachers; add a loss that looks at the target"
        if losses.ranking > 0 and stage.batch_size < 3:
            yield (
                f"{where}.batch_size: ranking compares pairs of texts with each other, and {stage.batch_size} texts make only one; "
                "write at least 3"
            )


def _trainable(recipe: Recipe, stage: StageConfig, where: str) -> Iterator[str]:
    parts = [part for _, part in stage.parts]
    for index, part in enumerate(parts):
        key = f"{where}.trainable" if len(parts) == 1 else f"{where}.trainable.progressive.{index}"
        yield from _layers(recipe, part, key)
    for index, (before, part) in enumerate(pairwise(parts), start=1):
        if before == part:
            yield f"{where}.trainable.progressive.{index}: trains the same as the part before it; leave one of them out"
    if len(parts) > stage.steps:
        yield f"{where}.trainable.progressive: {len(parts)} parts cannot share {stage.steps} steps; give the stage more steps"


def _layers(recipe: Recipe, part: Trainable, key: str) -> Iterator[str]:
    if recipe.student.layers is None:
        return
    count = len(recipe.student.layers)
    if isinstance(part, LastLayers) and part.last > count:
        yield f"{key}.last: {part.last} layers asked for, the student has {count}"
    if isinstance(part, LayerRange) and part.layers[1] >= count:
        yield f"{key}.layers: there is no layer {part.layers[1]}; the student's {count} layers are numbered from 0 to {count - 1}"


def _steps(recipe: Recipe, stage: StageConfig, where: str) -> Iterator[str]:
    if stage.batch_size < recipe.train.workers:
        yield f"{where}.batch_size: {stage.batch_size} rows cannot be dealt to the {recipe.train.workers} workers of train.workers"
    if stage.warmup_steps > stage.steps:
        yield f"{where}.warmup_steps: {stage.warmup_steps} is more than the stage's {stage.steps} steps"
