"""What a run was made of, in lines: what it takes to get the same numbers again."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mtd_ray import __version__
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.evaluate.scores import TaskScore

_PACKAGES = ("mteb", "sentence-transformers", "transformers", "torch", "ray")

Fact = tuple[str, str]


def facts(recipe: Recipe, manifest: Manifest, scores: Iterable[TaskScore]) -> tuple[Fact, ...]:
    """Label and text of each.

    Args:
        scores: of the student, which know the prompts it was measured with.
    """
    return (*_run(recipe, manifest), *_origins(recipe), *_measuring(recipe, scores), ("versions", ", ".join(_versions())))


def _run(recipe: Recipe, manifest: Manifest) -> Iterator[Fact]:
    yield "recipe", f"{recipe.name}, fingerprint {recipe.fingerprint}, seed {recipe.seed}"
    yield "corpus", f"{manifest.rows:,} texts, content hash {manifest.content}"
    steps = (f"{stage.name}: {stage.steps:,} steps of {stage.batch_size:,} texts" for stage in recipe.stages)
    yield "stages", "; ".join(steps)
    train = recipe.train
    each = f"{train.num_gpus:g} GPU" if train.num_gpus else f"{train.num_cpus:g} CPU"
    yield "trained on", f"{train.workers} × {each}, {train.dtype}"


def _origins(recipe: Recipe) -> Iterator[Fact]:
    student = recipe.student
    backbone = student.base_model_name or _name(student.model)
    layers = f", layers {', '.join(map(str, student.layers))}" if student.layers is not None else ""
    reading = f"{student.pooling} pooling, at most {student.max_tokens:,} tokens"
    yield "student", f"{backbone}{layers}, {reading}, {_terms(student.license)}"
    for name in recipe.used_teachers:
        teacher = recipe.teachers[name]
        revision = f", revision {teacher.revision}" if teacher.revision else ""
        part = f"{teacher.dimensions:,} numbers, weight {teacher.weight:g}"
        yield f"teacher {name}", f"{_name(teacher.model)}{revision}, {part}, {_terms(teacher.license)}"


def _measuring(recipe: Recipe, scores: Iterable[TaskScore]) -> Iterator[Fact]:
    prompts = dict.fromkeys((side, prompt) for score in scores for side, prompt in score.prompts.items())
    for side, prompt in prompts:
        yield f"prompt before {_SIDES.get(side, side)}", repr(prompt) if prompt else "none"
    if recipe.evaluate.data is not None:
        yield "data of the tasks", f"from {_name(recipe.evaluate.data)}"


_SIDES = {"query": "queries", "document": "documents", "": "other texts"}


def _terms(license: str | None) -> str:  # noqa: A002 (what the recipe calls it)
    return f"licence {license}" if license else "licence not stated"


def _name(place: str) -> str:
    """A model or folder as others can know it: of a local folder only its own name."""
    return Path(place).name if place.startswith(("/", ".", "~")) else place


def _versions() -> Iterator[str]:
    yield f"mtd-ray {__version__}"
    for package in _PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    yield f"Python {platform.python_version()}"
