"""Questions → vectors: a question is checked, its texts wait in a fair queue, and texts of many questions share one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from serve.engine.limits import Limits, Load

if TYPE_CHECKING:
    from serve.engine.metrics import Metrics
    from serve.engine.model import ServedModel

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Question:
    """What a client asks.

    Attributes:
        model: a served name; None for the first model.
        rows: a text each, or the ids of a text in the model's own tokenizer.
        size: of the vectors; None for the model's default.
        prompt_name: this prompt of the model is put before every text.
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
        max_tokens: of a text, prompt and special tokens included.
        prompts: names of its prompts.
    """

    name: str
    sizes: tuple[int, ...]
    any_size: bool
    default_size: int
    max_tokens: int
    prompts: tuple[str, ...]


class Engine:
    """Models, and the queue before them.

    Args:
        models: by key; the first is the default. Two versions of one model have one name and two keys.
        cache_bytes: memory for the vectors of texts that are asked for again.
        choose: (name, flow) → the key of the model that answers; by default the first of that name.
    """

    models: list[Description]
    metrics: Metrics

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        *,
        limits: Limits,
        cache_bytes: int = 0,
        choose: Callable[[str, str], str] | None = None,
    ) -> None:
        raise NotImplementedError

    async def answer(self, question: Question) -> Answer:
        """The vectors of a question.

        Raises:
            ApiError: 400 and 404 for what is wrong with the question, 429 when the queue is full, 500 when the model fails on a text,
                503 while closing, 504 after the deadline.
        """
        raise NotImplementedError

    def admit(self, body_bytes: int, flow: str = "") -> None:
        """To be asked before a body of that length is read.

        Raises:
            ApiError: (429) the queue is full; ``retry_after_s`` says when it will not be.
        """
        raise NotImplementedError

    async def check_alive(self, timeout_s: float) -> None:
        """Send the smallest piece of work through the model, ahead of the queue.

        Raises:
            ApiError: (503) no answer came in time, or a wrong one.
        """
        raise NotImplementedError

    def load(self) -> Load:
        """What is under way."""
        raise NotImplementedError

    def close(self) -> None:
        """Take no more questions, answer those taken, end the model thread. Blocks; in an event loop use ``asyncio.to_thread``."""
        raise NotImplementedError
