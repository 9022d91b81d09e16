"""What token ids of clients are taken for.

They may come from another vocabulary than the model's without anybody noticing: unless told otherwise, LangChain's
``OpenAIEmbeddings`` sends ids of OpenAI's ``cl100k_base``, whatever the model is called, and would get vectors of other texts. So
ids are held against what the model's own tokenizer gives, or are read as OpenAI's, or are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from mtd_ray.errors import MtdError
from serve.wire.faults import ApiError, quoted

if TYPE_CHECKING:
    import tiktoken

    from serve.engine.model import ServedModel
    from serve.engine.reading import Reader

Meaning = Literal["own", "cl100k_base", "refuse"]
"""``own``: of the model's tokenizer; ``cl100k_base``: of OpenAI's; ``refuse``: no ids are taken."""

Reading = Callable[["ServedModel", "Reader", Sequence[Sequence[int]], str], list[list[int]]]
"""(model, reader of its texts, ids of texts, prompt) → the texts as the model reads them. Thread-safe.

Raises:
    ApiError: the ids are not taken.
"""

TEXTS_INSTEAD = "send the text itself; LangChain does with OpenAIEmbeddings(…, check_embedding_ctx_length=False)"


def reader_of(meaning: Meaning) -> Reading:
    """What reads ids.

    Raises:
        MtdError: OpenAI's vocabulary cannot be had.
    """
    if meaning == "own":
        return _own
    return _refused if meaning == "refuse" else _OpenAI(_vocabulary(meaning))


def example_of(meaning: Meaning, model: ServedModel, text: str) -> list[int] | None:
    """Ids that are taken for a text; None where none are."""
    if meaning == "cl100k_base":
        return _vocabulary(meaning).encode_ordinary(text)
    (ids,) = model.tokenize([text])
    return ids if meaning == "own" and model.is_reading(ids) else None


def _own(model: ServedModel, reader: Reader, rows: Sequence[Sequence[int]], prompt: str) -> list[list[int]]:
    rows = [model.part(row) for row in rows]
    read = model.from_ids(rows, prompt)
    for index, row in enumerate(rows):
        if not model.is_reading(row):
            raise ApiError(
                f"the token ids of input {index} are not how this model's tokenizer reads any text; they seem to come from another "
                f"tokenizer: {TEXTS_INSTEAD}",
                param="input",
                code="foreign_token_ids",
            )
    return read


def _refused(model: ServedModel, reader: Reader, rows: Sequence[Sequence[int]], prompt: str) -> list[list[int]]:
    raise ApiError(f"this server takes no token ids: {TEXTS_INSTEAD}", param="input", code="token_ids_refused")


class _OpenAI:
    """Reads ids as OpenAI's."""

    def __init__(self, vocabulary: tiktoken.Encoding) -> None:
        self._vocabulary = vocabulary

    def __call__(self, model: ServedModel, reader: Reader, rows: Sequence[Sequence[int]], prompt: str) -> list[list[int]]:
        return reader.read([self._text(index, row) for index, row in enumerate(rows)], prompt)

    def _text(self, index: int, ids: Sequence[int]) -> str:
        try:
            return self._vocabulary.decode(list(ids))
        except (KeyError, OverflowError):
            wrong = next(token for token in ids if not self._knows(token))
            raise ApiError(
                f"token id {quoted(wrong)} of input {index} is not in {self._vocabulary.name}, as which this server reads ids; "
                "send the text itself",
                param="input",
            ) from None

    def _knows(self, token: int) -> bool:
        try:
            self._vocabulary.decode_single_token_bytes(token)
        except (KeyError, OverflowError):
            return False
        return True


def _vocabulary(name: str) -> tiktoken.Encoding:
    import tiktoken

    try:
        return tiktoken.get_encoding(name)
    except Exception as error:
        raise MtdError(
            f"input_ids: tiktoken cannot load {name} ({type(error).__name__}); it fetches the vocabulary once: let this machine "
            "reach the network, or set TIKTOKEN_CACHE_DIR to a folder that has it"
        ) from error
