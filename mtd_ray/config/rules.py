"""Combinations that no single type can refuse: a head of the wrong size, a stage that trains nothing, two teachers that are one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import get_args

from mtd_ray.config.base import Kind
from mtd_ray.config.catalog import catalog, usd_per_token
from mtd_ray.config.nearest import nearest
from mtd_ray.config.recipe import Recipe
from mtd_ray.config.sources import DocstringSource
from mtd_ray.config.stages import LastLayers, StageConfig
from mtd_ray.config.teachers import ApiTeacher, LocalTeacher, teacher_fingerprint


def broken_rules(recipe: Recipe) -> list[str]:
    """One line per impossible combination: key, what is wrong, what would be right. Empty when the recipe is sound."""
    faults = [
        *_storage(recipe),
        *_numbers(recipe),
        *_same_teachers(recipe),
        *_quotas(recipe),
        *_prices(recipe),
        *_offers(recipe),
        *_prompts(recipe),
        *_measured(recipe),
    ]
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


def _same_teachers(recipe: Recipe) -> Iterator[str]:
    first: dict[str, str] = {}
    for name, teacher in recipe.teachers.items():
        other = first.setdefault(teacher_fingerprint(teacher), name)
        if other != name:
            way_out = (
                "leave one out"
                if isinstance(teacher, LocalTeacher)
                else "leave one out, or, when two servers answer one model name differently, give each its own 'revision'"
            )
            yield f"teachers.{name}: gives the same vectors as teachers.{other}, from one target store; {way_out}"


def _quotas(recipe: Recipe) -> Iterator[str]:
    for name, teacher in recipe.teachers.items():
        if isinstance(teacher, ApiTeacher) and (limit := teacher.quota.tokens_per_minute) and limit < teacher.max_tokens:
            yield (
                f"teachers.{name}.quota.tokens_per_minute: {limit:g} is less than one text may have (max_tokens: "
                f"{teacher.max_tokens}), so that such a text can never be asked; lower teachers.{name}.max_tokens"
            )


def _prices(recipe: Recipe) -> Iterator[str]:
    for name, teacher in recipe.teachers.items():
        if recipe.harvest.budget_usd is not None and isinstance(teacher, ApiTeacher) and usd_per_token(teacher) is None:
            yield (
                f"teachers.{name}.usd_per_million_tokens: harvest.budget_usd can be kept only when every price is known, and the "
                f"one of {teacher.model!r} is not; write it here (0 for a server of your own)"
            )


def _offers(recipe: Recipe) -> Iterator[str]:
    """What a known model does not offer. A model that the catalog does not list may have any size and any caps."""
    for name, teacher in recipe.teachers.items():
        if not isinstance(teacher, ApiTeacher) or teacher.model not in catalog().providers[teacher.provider].models:
            continue
        facts, caps = catalog().model(teacher.provider, teacher.model), catalog().caps(teacher.provider, teacher.model)
        if not facts.offers(teacher.dimensions):
            yield f"teachers.{name}.dimensions: {teacher.model} has no vectors of size {teacher.dimensions}; write {facts.offer}"
        given = {
            "max_inputs": (teacher.max_inputs, caps.inputs, "texts"),
            "max_request_tokens": (teacher.max_request_tokens, caps.request_tokens, "tokens"),
            "max_tokens": (teacher.max_tokens, caps.tokens, "tokens of one text"),
        }
        for key, (value, most, what) in given.items():
            if value > most:
                yield f"teachers.{name}.{key}: {teacher.model} takes at most {most:,} {what} in a request, not {value:,}"


def _prompts(recipe: Recipe) -> Iterator[str]:
    kinds = get_args(Kind)
    for name in recipe.student.prompts:
        # Other names are exported for whoever loads the student; training uses the prompts of the kinds alone.
        if name not in kinds and difflib.get_close_matches(name, kinds, n=1, cutoff=0.8):
            yield f"student.prompts.{name}: training would not use this prompt; {nearest(name, kinds)}"


def _measured(recipe: Recipe) -> Iterator[str]:
    evaluate = recipe.evaluate
    if evaluate.heldout and not evaluate.pairs and not isinstance(recipe.corpus.source, DocstringSource):
        yield (
            "evaluate.pairs: a run needs something to be measured on, and only docstrings have held-out pairs of their own; name a "
            "Parquet file with the columns query and passage, or write evaluate.heldout: false to do without"
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
    for head in stage.heads:
        if head not in recipe.student.heads:
            yield f"{where}.heads.{head}: the student has no such head; it has {list(recipe.student.heads)}"
        try:
            recipe.head_layout(stage, head)
        except ValueError as error:
            yield (
                f"{where}.heads.{head}: {error}; give the student a head of that size, write target: pca or target: cut, or use only "
                "similarity and ranking here"
            )


def _stage_trains(recipe: Recipe, stage: StageConfig, where: str) -> Iterator[str]:
    for head, losses in stage.heads.items():
        if not losses.weights:
            yield f"{where}.heads.{head}: every loss weight is 0, so this trains nothing; raise one above 0 or leave the head out"
    if stage.batch_size < recipe.train.workers:
        yield f"{where}.batch_size: {stage.batch_size} rows cannot be dealt to the {recipe.train.workers} workers of train.workers"
    layers = recipe.student.layers
    if isinstance(stage.trainable, LastLayers) and layers is not None and stage.trainable.last > len(layers):
        yield f"{where}.trainable.last: {stage.trainable.last} layers asked for, the student has {len(layers)}"
    if stage.warmup_steps > stage.steps:
        yield f"{where}.warmup_steps: {stage.warmup_steps} is more than the stage's {stage.steps} steps"
