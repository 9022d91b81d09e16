"""Which prompt stands before a text of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mtd_ray.config import Kind
from mtd_ray.errors import EvaluationError

if TYPE_CHECKING:
    from mtd_ray.evaluate.models.base import Asked, Side

_KINDS: dict[Side, Kind] = {"query": "query", "document": "passage", None: "sentence"}
# By side, the names under which models publish the prompt: Stella's first, then the kinds of a corpus and mteb's own words.
_USUAL: dict[Side, tuple[str, ...]] = {
    "query": ("s2p_query", "query"),
    "document": ("passage", "document"),
    None: ("s2s_query", "sentence"),
}


def kind_of(asked: Asked) -> Kind:
    """The kind of text of a corpus that a task's text is like: what a teacher is asked with."""
    return _KINDS[asked.side]


def prompt_of(prompts: Mapping[str, str], chosen: Mapping[str, str], asked: Asked, *, default: str = "") -> str:
    """The prompt before a text.

    Args:
        prompts: a model's own, by their names.
        chosen: names of prompts by mteb's keys, of which the first that is there counts: ``TASK-SIDE``, ``TASK``, ``TYPE-SIDE``,
            ``TYPE``, ``SIDE``; an empty name is no prompt. Where nothing is chosen, the model's prompts that themselves have such a
            key for a name count and then, for queries, ``s2p_query`` or ``query``, for documents ``passage`` or ``document``, for
            texts that stand on no side ``s2s_query`` or ``sentence``.
        default: where the model has no prompt for it.

    Raises:
        EvaluationError: a prompt is chosen that the model does not have.
    """
    keys = _keys(asked)
    for key in (*keys, asked.side):
        if key is not None and key in chosen:
            return _named(prompts, key, chosen[key])
    return next((prompts[name] for name in (*keys, *_USUAL[asked.side]) if name in prompts), default)


def _keys(asked: Asked) -> list[str]:
    """mteb's names for what is asked, from the narrowest to the widest."""
    return [key for what in (asked.task, asked.type) for key in ([f"{what}-{asked.side}", what] if asked.side else [what])]


def _named(prompts: Mapping[str, str], key: str, name: str) -> str:
    if name and name not in prompts:
        known = ", ".join(sorted(prompts)) or "no prompts"
        raise EvaluationError(f"evaluate.prompts.{key}: the model has no prompt {name!r}; it has {known}")
    return prompts[name] if name else ""
