"""Combinations that no single type can refuse: two teachers that are one, a head that no stage trains."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import get_args

from mtd_ray.config.base import Kind
from mtd_ray.config.catalog import catalog, usd_per_token
from mtd_ray.config.nearest import nearest
from mtd_ray.config.recipe import Recipe
from mtd_ray.config.rules_evaluation import broken_evaluation_rules
from mtd_ray.config.rules_stages import broken_stage_rules
from mtd_ray.config.teachers import ApiTeacher, LocalTeacher, teacher_fingerprint
from mtd_ray.licenses import NON_COMMERCIAL, restriction


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
        *broken_evaluation_rules(recipe),
        *_terms(recipe),
        *_parts_of_target(recipe),
        *_trackers(recipe),
        *broken_stage_rules(recipe),
    ]
    return faults or list(_untrained_heads(recipe))


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


def _terms(recipe: Recipe) -> Iterator[str]:
    """Before anything is spent: a student that nobody could use as they meant to."""
    if recipe.export.accept_non_commercial:
        return
    for key, license_id in _licenses(recipe).items():
        if license_id and restriction(license_id) == NON_COMMERCIAL:
            yield (
                f"{key}: {license_id} does not allow commercial use, and that follows the student into everything it is used for; "
                "leave this model out, or write export.accept_non_commercial: true"
            )


def unstated_licenses(recipe: Recipe) -> tuple[str, ...]:
    """Keys of the licences that a recipe leaves out, of the models whose terms follow the student."""
    return tuple(key for key, license_id in _licenses(recipe).items() if not license_id)


def _licenses(recipe: Recipe) -> dict[str, str | None]:
    teachers = {f"teachers.{name}.license": recipe.teachers[name].license for name in recipe.used_teachers}
    return {**teachers, "student.license": recipe.student.license}


def _parts_of_target(recipe: Recipe) -> Iterator[str]:
    for name, teacher in recipe.teachers.items():
        if teacher.target_shorten == "cut":
            continue
        if teacher.target_dimensions is None:
            yield f"teachers.{name}.target_shorten: nothing is shortened without target_dimensions; write it, or leave this out"
        elif teacher.dimensions < 2 * teacher.target_dimensions:
            yield (
                f"teachers.{name}.target_shorten: of {teacher.dimensions} numbers only one whole chunk of "
                f"{teacher.target_dimensions} can be taken, so that nothing would be folded; write target_dimensions: "
                f"{max(1, teacher.dimensions // 2)} or less, or target_shorten: cut"
            )


def _trackers(recipe: Recipe) -> Iterator[str]:
    trackers = recipe.train.trackers
    if len(set(trackers)) != len(trackers):
        yield f"train.trackers: the same tracker stands twice in {list(trackers)}"


def _untrained_heads(recipe: Recipe) -> Iterator[str]:
    """A size that would be exported as it was drawn at random. A nested head is trained as far as its largest trained prefix."""
    trained = {head for stage in recipe.stages for head in stage.heads}
    nested = recipe.student.matryoshka == "nested"
    for head in recipe.student.heads:
        if head > max(trained) if nested else head not in trained:
            yield f"student.heads: no stage trains size {head}; give it losses in stages, or leave it out here"
