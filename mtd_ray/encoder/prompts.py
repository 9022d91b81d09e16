"""Which of a model's prompts stands before a text that is asked for by what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

InputType = Literal["document", "query"]
INPUT_TYPES: tuple[InputType, ...] = get_args(InputType)

# As sentence-transformers' encode_query and encode_document look for them.
_NAMES: dict[InputType, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}


def prompt_for(prompts: Mapping[str, str], input_type: InputType) -> str:
    """The prompt of the first usual name that the model has; empty where it has none."""
    return next((prompts[name] for name in _NAMES[input_type] if name in prompts), "")
