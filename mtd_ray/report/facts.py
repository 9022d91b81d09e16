"""What a run was made of, in lines: what it takes to get the same numbers again."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version

from mtd_ray import __version__
from mtd_ray.card.origins import public_name
from mtd_ray.config import Recipe
from mtd_ray.corpus import Manifest
from mtd_ray.evaluate.results import Row
from mtd_ray.evaluate.scores import TaskScore
from mtd_ray.report import naming

_PACKAGES = ("mteb", "sentence-transformers", "transformers", "torch", "ray")

Fact = tuple[str, str]


def facts(recipe: Recipe, manifest: Manifest, scores: Mapping[str, TaskScore], rows: Iterable[Row] = ()) -> tuple[Fact, ...]:
    """Label and text of each.

    Args:
        scores: of the student by task; they know the prompts it was measured with.
        rows: of all models, which know what texts they have no vector of.
    """
    measured = (*_measuring(recipe, scores), *_failed(rows))
    return (*_run(recipe, manifest), *_origins(recipe), *measured, ("versions", ", ".join(_versions())))


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
    backbone = student.base_model_name or public_name(student.model)
    layers = f", layers {', '.join(map(str, student.layers))}" if student.layers is not None else ""
    reading = f"{student.pooling} pooling, at most {student.max_tokens:,} tokens"
    yield "student", f"{backbone}{layers}, {reading}, {_terms(student.license)}"
    for name in recipe.used_teachers:
        teacher = recipe.teachers[name]
        revision = f", revision {teacher.revision}" if teacher.revision else ""
        part = f"{teacher.dimensions:,} numbers, weight {teacher.weight:g}"
        yield f"teacher {name}", f"{public_name(teacher.model)}{revision}, {part}, {_terms(teacher.license)}"


def _measuring(recipe: Recipe, scores: Mapping[str, TaskScore]) -> Iterator[Fact]:
    prompts: dict[str, dict[str, list[str]]] = {}
    for task, score in scores.items():
        for side, prompt in score.prompts.items():
            prompts.setdefault(side, {}).setdefault(prompt, []).append(task)
    for side, tasks in prompts.items():
        yield f"prompt before {_SIDES.get(side, side)}", _told(tasks)
    if recipe.evaluate.data is not None:
        yield "data of the tasks", f"from {public_name(recipe.evaluate.data)}"


def _told(tasks: Mapping[str, list[str]]) -> str:
    """Each prompt; where tasks differ in it, with those that it was used on."""
    named = {repr(prompt) if prompt else "none": ", ".join(used) for prompt, used in tasks.items()}
    return "; ".join(f"{prompt} ({used})" for prompt, used in named.items()) if len(named) > 1 else next(iter(named))


def _failed(rows: Iterable[Row]) -> Iterator[Fact]:
    """Models whose scores are too low because a vector of zeros stands for some texts. All sizes of a model lack the same."""
    failed = {naming.model(row): row for row in rows if row.failed}
    for name, row in failed.items():
        told = ", ".join(f"{texts:,} of {task}" for task, texts in row.failed.items())
        effect = "; its score there is too low, and what the student retains of it too high" if row.role == "teacher" else ""
        yield f"texts that {name} could not embed", told + effect


_SIDES = {"query": "queries", "document": "documents", "": "other texts"}


def _terms(license: str | None) -> str:  # noqa: A002 (what the recipe calls it)
    return f"licence {license}" if license else "licence not stated"


def _versions() -> Iterator[str]:
    yield f"mtd-ray {__version__}"
    for package in _PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    yield f"Python {platform.python_version()}"
