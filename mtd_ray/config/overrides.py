"""``key.path=value`` replaces one value of a recipe's tree."""

from __future__ import annotations

from typing import Any

from mtd_ray.config.yaml_text import parse_yaml
from mtd_ray.errors import RecipeError


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Replace one value in place; mappings that are missing on the way are made.

    Raises:
        RecipeError: the override has no ``=``, its value is not YAML, or its path leads through a plain value or past a list's end.
            The message names the path; the value, which may be a secret given by mistake, never appears.
    """
    path, equals, text = override.partition("=")
    steps = path.split(".")
    if not equals or not all(steps):
        raise RecipeError(f"override {path!r}: write it as key.path=value, for example stages.0.steps=100")
    try:
        value = parse_yaml(text)
    except ValueError:
        raise RecipeError(f"override {path!r}: the value is not valid YAML") from None
    node: Any = tree
    for depth, step in enumerate(steps[:-1], start=1):
        node = _descend(node, step, path, ".".join(steps[:depth]))
    node[_place(node, steps[-1], path)] = value


def _descend(node: Any, step: str, path: str, where: str) -> Any:
    place = _place(node, step, path)
    if isinstance(node, dict) and node.get(place) is None:
        node[place] = {}
    elif where == "storage" and isinstance(node[place], str):
        node[place] = {"url": node[place]}
    if not isinstance(node[place], (dict, list)):
        raise RecipeError(f"override {path!r}: {where} is a plain value, which has nothing below it")
    return node[place]


def _place(node: Any, step: str, path: str) -> Any:
    """What a step names: a mapping's key, or a list's index."""
    if not isinstance(node, list):
        return step
    if not step.isdecimal() or int(step) >= len(node):
        raise RecipeError(f"override {path!r}: {step!r} is no element of a list of {len(node)}; elements are counted from 0")
    return int(step)
