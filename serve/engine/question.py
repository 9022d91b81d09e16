"""What is asked of the engine, what it answers, and how it describes what may be asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from serve.engine.limits import Limits
from serve.engine.work import Vector

if TYPE_CHECKING:
    from serve.engine.model import ServedModel


@dataclass(frozen=True)
class Question:
    """What a client asks.

    Attributes:
        model: a served name, or the key of one version; None for the first model.
        rows: a text each, or the ids of a text in the model's own tokenizer.
        size: of the vectors; None for the model's default.
        prompt_name: this prompt of the model is put before every text; without it and ``input_type`` the model's default, if any.
        input_type: as ``prompt_name``, for the prompt that the model has for queries or documents; nothing where it has none.
        truncate: cut texts that are longer than the model reads, instead of refusing the question.
        normalize: scale vectors to length 1.
        flow: who asks; those who ask share the model fairly.
    """

    model: str | None
    rows: list[str | list[int]]
    size: int | None
    prompt_name: str | None = None
    input_type: Literal["query", "document"] | None = None
    truncate: bool = False
    normalize: bool = False
    flow: str = ""


@dataclass(frozen=True)
class Answer:
    """Vectors (size,) in the order of the rows, the key of the model that gave them, and the tokens that it read for them."""

    model: str
    vectors: list[Vector]
    tokens: int


@dataclass(frozen=True)
class Description:
    """A served model, as clients are told of it.

    Attributes:
        name: what clients call it.
        sizes: of its vectors; where ``any_size``, every smaller size may be asked for as well.
        default_size: given when none is asked for.
        max_tokens: of a text, prompt and special tokens included; not more than a request may have.
        prompts: names of its prompts.
        dtype: that it computes in.
    """

    name: str
    sizes: tuple[int, ...]
    any_size: bool
    default_size: int
    max_tokens: int
    prompts: tuple[str, ...]
    dtype: str


def described(models: Mapping[str, ServedModel], limits: Limits) -> Iterator[Description]:
    """Every name, described by its first version, followed by its versions."""
    for name in dict.fromkeys(model.name for model in models.values()):
        keys = [key for key, model in models.items() if model.name == name]
        for called, key in ({name: keys[0]} | {key: key for key in keys}).items():
            yield _description(models[key], called, limits)


def _description(model: ServedModel, called: str, limits: Limits) -> Description:
    prefix = next((size - 1 for size in model.sizes if size > 1 and size - 1 not in model.sizes), None)
    return Description(
        name=called,
        sizes=model.sizes,
        any_size=prefix is not None and model.is_size(prefix),
        default_size=model.default_size,
        max_tokens=min(model.max_tokens, limits.max_request_tokens),
        prompts=tuple(sorted(model.prompts)),
        dtype=model.dtype,
    )
