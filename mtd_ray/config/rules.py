"""Combinations that no single type can refuse: a head of the wrong size, a stage that trains nothing."""

from __future__ import annotations

from collections.abc import Iterator

from mtd_ray.config.nearest import nearest
from mtd_ray.config.recipe import LastLayers, Recipe, StageConfig


def broken_rules(recipe: Recipe) -> list[str]:
    """One line per impossible combination: key, what is wrong, what would be right. Empty when the recipe is sound."""
    faults = [*_storage(recipe), *_numbers(recipe)]
    names = [stage.name for stage in recipe.stages]
    for index, stage in enumerate(recipe.stages):
        where = f"stages.{index}"
        if names.count(stage.name) > 1:
            faults.append(f"{where}.name: {stage.name!r} stands twice; stages need different names")
        teacher_faults = list(_stage_teachers(recipe, stage, where))
        faults += teacher_faults or _stage_heads(recipe, stage, where)
        faults += _stage_trains(recipe, stage, where)
    return faults


def _storage(recipe: Recipe) -> Iterator[str]:
    url = recipe.storage.url
    if not url.startswith(("s3://", "file:///", "/")):
        yield f"storage.url: {url!r} is neither s3://bucket/prefix nor an absolute folder"


def _numbers(recipe: Recipe) -> Iterator[str]:
    if recipe.train.dtype == "bfloat16" and recipe.train.zero_stage == 0:
        yield (
            "train.zero_stage: 0 keeps no float32 copy of bfloat16 weights, so that small updates are lost; use 1, 2 or 3, "
            "or train.dtype: float32"
        )


def _stage_teachers(recipe: Recipe, stage: StageConfig, where: str) -> Iterator[str]:
    for name in stage.teachers or ():
        if name not in recipe.teachers:
            yield f"{where}.teachers: there is no teacher {name!r}; {nearest(name, recipe.teachers)}"
    if stage.teachers is not None and len(set(stage.teachers)) != len(stage.teachers):
        yield f"{where}.teachers: the same teacher stands twice in {list(stage.teachers)}"
    if stage.teachers == ():
        yield f"{where}.teachers: a stage needs at least one teacher; leave the key out to use all"


def _stage_heads(recipe: Recipe, stage: StageConfig, where: str) -> Iterator[str]:
    target = recipe.target_dimensions(stage)
    for head, weights in stage.heads.items():
        if head not in recipe.student.heads:
            yield f"{where}.heads.{head}: the student has no such head; it has {list(recipe.student.heads)}"
        if weights.cosine > 0 and head != target:
            parts = " + ".join(f"{name} {recipe.teachers[name].dimensions}" for name in recipe.stage_teachers(stage))
            yield (
                f"{where}.heads.{head}.cosine: a head of size {head} cannot be compared to this stage's target of size {target} "
                f"({parts}); give the student a head of {target}, or use only similarity and ranking here"
            )


def _stage_trains(recipe: Recipe, stage: StageConfig, where: str) -> Iterator[str]:
    if not any(weights.any for weights in stage.heads.values()):
        yield f"{where}.heads: every loss weight is 0, so this stage trains nothing; give at least one a weight above 0"
    layers = recipe.student.layers
    if isinstance(stage.trainable, LastLayers) and layers is not None and stage.trainable.last > len(layers):
        yield f"{where}.trainable.last: {stage.trainable.last} layers asked for, the student has {len(layers)}"
    if stage.warmup_steps > stage.steps:
        yield f"{where}.warmup_steps: {stage.warmup_steps} is more than the stage's {stage.steps} steps"
