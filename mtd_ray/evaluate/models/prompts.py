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
    key = key_of_chosen(chosen, asked)
    if key is not None:
        return _named(prompts, key, chosen[key])
    return next((prompts[name] for name in (*_keys(asked), *_USUAL[asked.side]) if name in prompts), default)


def key_of_chosen(chosen: Mapping[str, str], asked: Asked) -> str | None:
    """By which key of ``chosen`` a text's prompt is chosen, see :func:`prompt_of`; None where nothing is."""
    return next((key for key in (*_keys(asked), asked.side) if key is not None and key in chosen), None)


def name_of_chosen(chosen: Mapping[str, str], asked: Asked) -> str | None:
    """The name of the prompt that is chosen, which with the model's content decides its text; None where nothing is chosen."""
    key = key_of_chosen(chosen, asked)
    return None if key is None else chosen[key]


def _keys(asked: Asked) -> list[str]:
    """mteb's names for what is asked, from the narrowest to the widest."""
    return [key for what in (asked.task, asked.type) for key in ([f"{what}-{asked.side}", what] if asked.side else [what])]


def _named(prompts: Mapping[str, str], key: str, name: str) -> str:
    if name and name not in prompts:
        known = ", ".join(sorted(prompts)) or "no prompts"
        raise EvaluationError(f"evaluate.prompts.{key}: the model has no prompt {name!r}; it has {known}")
    return prompts[name] if name else ""
