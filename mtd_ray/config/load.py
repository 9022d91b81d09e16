"""YAML file and ``key.path=value`` overrides → :class:`Recipe`, with messages a person can act on."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from mtd_ray.config.recipe import Recipe
from mtd_ray.config.rules import broken_rules
from mtd_ray.errors import RecipeError

# What pydantic puts into an error's location for a branch of a union, beside the recipe's own keys.
_BRANCHES = ("local", "openai", "parquet", "jsonl", "huggingface", "docstrings", "[key]", "LastLayers")


class _Loader(yaml.SafeLoader):
    """YAML as people write it: ``1e-4`` is a number (YAML 1.1 reads it as text) and a key given twice is an error."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789."))


def _mapping_without_repeats(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats)


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
        _apply(tree, override)
    try:
        recipe = Recipe.model_validate_json(json.dumps(tree, allow_nan=False, default=str))
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
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such recipe{_nearest_file(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys, this file holds {type(tree).__name__}")
    return tree


def _nearest_file(path: Path) -> str:
    names = [p.name for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"; did you mean {path.parent / close[0]}?" if close else ""


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    steps = key.split(".")
    if not equals or not all(steps):
        raise RecipeError(f"override {override!r}: write it as key.path=value, for example stages.0.steps=100")
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError:
        raise RecipeError(f"override {override!r}: the value is not valid YAML") from None
    node: Any = tree
    for depth, step in enumerate(steps[:-1]):
        node = _descend(node, step, override, ".".join(steps[:depth]))
    _assign(node, steps[-1], value, override)


def _descend(node: Any, step: str, override: str, where: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, step, override, where)]
    key: Any = int(step) if step.isdigit() and int(step) in node else step
    if node.get(key) is None:
        node[key] = {}
    elif key == "storage" and isinstance(node[key], str):
        node[key] = {"url": node[key]}
    if not isinstance(node[key], (dict, list)):
        raise RecipeError(f"override {override!r}: {step!r} holds {node[key]!r}, which has nothing below it")
    return node[key]


def _assign(node: Any, step: str, value: Any, override: str) -> None:
    if isinstance(node, list):
        node[_index(node, step, override, "")] = value
    else:
        node[int(step) if step.isdigit() and int(step) in node else step] = value


def _index(node: list[Any], step: str, override: str, where: str) -> int:
    if not step.isdigit() or int(step) >= len(node):
        raise RecipeError(f"override {override!r}: {where or 'the list'} has elements 0 to {len(node) - 1}, not {step!r}")
    return int(step)


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
        known = _known_keys(fault["loc"][:-1])
        close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0.5)
        return f"unknown key; did you mean {close[0]!r}?" if close else f"unknown key; known keys: {', '.join(known)}"
    if fault["type"] == "missing":
        return "this key is required"
    if fault["type"] == "union_tag_invalid":
        return f"{fault['ctx']['discriminator']} {fault['ctx']['tag']!r} is unknown; {_nearest_tag(fault['ctx'])}"
    message = fault["msg"].removeprefix("Value error, ")
    is_short = isinstance(fault.get("input"), (str, int, float, bool, type(None)))
    given = f" (given: {fault['input']!r})" if is_short and "secret" not in message else ""
    return f"{message[0].lower()}{message[1:]}{given}"


def _nearest_tag(context: dict[str, Any]) -> str:
    known = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
    close = difflib.get_close_matches(str(context["tag"]), known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _is_union_branch(step: Any) -> bool:
    return step in _BRANCHES or (isinstance(step, str) and step.startswith(("literal[", "function-")))


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
