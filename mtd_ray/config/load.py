"""YAML file and ``key.path=value`` overrides → :class:`Recipe`, with messages a person can act on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from mtd_ray.config.nearest import nearest
from mtd_ray.config.overrides import apply_override
from mtd_ray.config.recipe import Recipe
from mtd_ray.config.rules import broken_rules
from mtd_ray.config.yaml_text import parse_yaml
from mtd_ray.errors import RecipeError

# What pydantic puts into an error's location for a branch of a union, beside the recipe's own keys.
_BRANCHES = ("local", "openai", "cohere", "voyage", "parquet", "jsonl", "huggingface", "docstrings", "[key]")
# A wrong value of these keys may be a secret that was given by mistake, and is never repeated.
_MAY_HOLD_A_SECRET = ("api_key", "base_url", "endpoint")


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override and check a recipe.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` strings; the value is read as YAML. A list element is named by its number
            (``stages.0.steps=10``).

    Raises:
        RecipeError: with one line per fault: file, key, what is wrong, and the nearest valid name.
    """
    path = Path(path)
    tree = _read(path)
    for override in overrides:
        apply_override(tree, override)
    try:
        recipe = Recipe.model_validate_json(json.dumps(tree, allow_nan=False))
    except ValidationError as error:
        raise RecipeError(_report(path, _explain_all(error.errors()))) from None
    except ValueError as error:
        raise RecipeError(f"{path}: {error}") from None
    if faults := broken_rules(recipe):
        raise RecipeError(_report(path, faults))
    return recipe


def _report(path: Path, faults: Iterable[str]) -> str:
    return "\n".join(f"{path}: {fault}" for fault in dict.fromkeys(faults))


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such recipe; {_nearest_file(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from None
    try:
        tree = parse_yaml(text)
    except ValueError as error:
        raise RecipeError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys, this file holds {type(tree).__name__}")
    return tree


def _nearest_file(path: Path) -> str:
    return nearest(str(path), [str(other) for other in sorted(path.parent.glob("*.yaml"))] if path.parent.is_dir() else [])


def _explain_all(faults: Sequence[Any]) -> list[str]:
    """One line per faulty key.

    A list that looks too short only because its elements are faulty is not a fault of its own, and the branches of a union, each
    of which says what it would have taken, make one line.
    """
    deepest = [fault for fault in faults if not any(_is_below(other, fault) for other in faults)]
    lines: dict[str, list[str]] = {}
    for fault in deepest:
        lines.setdefault(_key(fault), []).append(_explain(fault))
    return [f"{key}: {' or '.join(dict.fromkeys(messages))}" for key, messages in lines.items()]


def _is_below(fault: Any, above: Any) -> bool:
    return len(fault["loc"]) > len(above["loc"]) and fault["loc"][: len(above["loc"])] == above["loc"]


def _key(fault: Any) -> str:
    return ".".join(str(step) for step in fault["loc"] if not _is_union_branch(step))


def _explain(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return f"unknown key; {nearest(str(fault['loc'][-1]), _known_keys(fault['loc'][:-1]))}"
    if fault["type"] == "missing":
        return "this key is required"
    if fault["type"] == "union_tag_invalid":
        return f"{fault['ctx']['discriminator']} {fault['ctx']['tag']!r} is unknown; {_nearest_tag(fault['ctx'])}"
    message = fault["msg"].removeprefix("Value error, ")
    shown = isinstance(fault.get("input"), (str, int, float, bool, type(None))) and fault["loc"][-1] not in _MAY_HOLD_A_SECRET
    given = f" (given: {fault['input']!r})" if shown else ""
    return f"{message[0].lower()}{message[1:]}{given}"


def _nearest_tag(context: dict[str, Any]) -> str:
    known = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
    return nearest(str(context["tag"]), known)


def _is_union_branch(step: Any) -> bool:
    return step in _BRANCHES or (isinstance(step, str) and step.startswith(("literal[", "function-", "constrained-", "{")))


def _known_keys(location: Sequence[Any]) -> list[str]:
    """Names of the fields at a place of the recipe's type tree."""
    found: list[type[BaseModel]] = [Recipe]
    for step in location:
        following: list[type[BaseModel]] = []
        for model in found:
            field = model.model_fields.get(str(step))
            if field is not None:
                following += _models_in(field.annotation)
        # A step that names no field is a list index, a mapping key or a union's branch: it stays inside the same type.
        found = following or found
    return sorted({name for model in found for name in model.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
