"""What a question asks for, held against what is served and allowed; and its texts as the model reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mtd_ray.encoder.prompts import prompt_for
from serve.engine.input_ids import Meaning, reader_of
from serve.engine.limits import Limits
from serve.engine.question import Question
from serve.engine.reading import Reader, too_many
from serve.wire.faults import ApiError, quoted

if TYPE_CHECKING:
    from serve.engine.model import ServedModel


@dataclass(frozen=True)
class Target:
    """Where a question goes: a model by its key, the size of the vectors, the prompt before every text.

    Attributes:
        overhead: tokens of the prompt and the special tokens.
    """

    key: str
    model: ServedModel
    size: int
    prompt: str
    overhead: int


class Checks:
    """The models by key, and the limits. Thread-safe.

    Args:
        choose: (name, flow) → the key that answers; by default the first model of that name.
        input_ids: what token ids are taken for.

    Raises:
        MtdError: what they are taken for cannot be had.
    """

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        limits: Limits,
        choose: Callable[[str, str], str] | None = None,
        *,
        input_ids: Meaning = "own",
    ) -> None:
        self._readers = {key: Reader(model, limits.max_request_tokens) for key, model in models.items()}
        self._read_ids = reader_of(input_ids)
        self._ids_are_own = input_ids == "own"
        self._models = dict(models)
        self._limits = limits
        self._by_name: dict[str, str] = {}
        for key, model in models.items():
            self._by_name.setdefault(model.name, key)
        self._first = next(iter(self._by_name))
        self._choose = choose
        self._overheads: dict[tuple[str, str], int] = {}

    def target(self, question: Question) -> Target:
        """Check everything but the texts' lengths.

        Raises:
            ApiError: saying what is wrong with the question and what would be right.
        """
        key = self._key(question.model, question.flow)
        model = self._models[key]
        self._check_rows(question.rows)
        self._check_ids(question, model)
        size, prompt = _size(model, question.size), _prompt(model, question.prompt_name, question.input_type)
        if (key, prompt) not in self._overheads:
            self._overheads[key, prompt] = len(model.tokenize([""], prompt)[0])
        return Target(key, model, size, prompt, self._overheads[key, prompt])

    def ids(self, question: Question, target: Target) -> list[list[int]]:
        """The texts as the model reads them, prompt and special tokens included.

        Raises:
            ApiError: a text or all together are too long, or an id is not in the vocabulary.
        """
        model, rows = target.model, self._tokenized(question.rows, target)
        for index, ids in enumerate(rows):
            if len(ids) <= model.max_tokens:
                continue
            if not question.truncate:
                is_whole = len(question.rows[index]) <= self._readers[target.key].first
                raise _too_long(index, str(len(ids)) if is_whole else f"more than {model.max_tokens}", model)
            rows[index] = model.cut(ids)
        if (total := sum(map(len, rows))) > self._limits.max_request_tokens:
            raise too_many(f"{total} tokens", self._limits.max_request_tokens)
        return rows

    def _key(self, name: str | None, flow: str) -> str:
        name = self._first if name is None else name
        if name in self._by_name:
            return self._choose(name, flow) if self._choose else self._by_name[name]
        if name in self._models:
            return name
        raise ApiError(
            f"the model {quoted(name)} is not served here; this server has {', '.join(map(repr, self._by_name))}",
            status=404,
            param="model",
            code="model_not_found",
        )

    def _check_rows(self, rows: Sequence[str | list[int]]) -> None:
        if not rows:
            raise ApiError("the list of texts is empty; it must hold at least one", param="input", code="empty_input")
        if len(rows) > self._limits.max_inputs:
            raise ApiError(f"there are {len(rows)} texts; one request may hold {self._limits.max_inputs}", param="input")
        for index, row in enumerate(rows):
            if not row:
                raise ApiError(f"input {index} is an empty text", param="input", code="empty_input")

    def _check_ids(self, question: Question, model: ServedModel) -> None:
        """Ids are counted before anything is read."""
        counts = {index: len(row) for index, row in enumerate(question.rows) if not isinstance(row, str)}
        if self._ids_are_own and not question.truncate:
            for index, count in counts.items():
                if count > model.max_tokens:
                    raise _too_long(index, str(count), model)
        if (total := sum(min(count, model.max_tokens) for count in counts.values())) > self._limits.max_request_tokens:
            raise too_many(f"{total} tokens", self._limits.max_request_tokens)

    def _tokenized(self, rows: Sequence[str | list[int]], target: Target) -> list[list[int]]:
        reader = self._readers[target.key]
        texts = [row for row in rows if isinstance(row, str)]
        if len(texts) == len(rows):
            return reader.read(texts, target.prompt)
        read = iter(reader.read(texts, target.prompt))
        given = iter(self._read_ids(target.model, reader, [row for row in rows if not isinstance(row, str)], target.prompt))
        return [next(read) if isinstance(row, str) else next(given) for row in rows]


def _too_long(index: int, tokens: str, model: ServedModel) -> ApiError:
    return ApiError(
        f"input {index} has {tokens} tokens; this model reads at most {model.max_tokens}. "
        'Shorten it, or send "truncate": true to have the beginning embedded',
        param="input",
        code="context_length_exceeded",
    )


def _size(model: ServedModel, size: int | None) -> int:
    if size is None:
        return model.default_size
    if not model.is_size(size):
        sizes = ", ".join(map(str, model.sizes))
        raise ApiError(f"this model has no vectors of {size} dimensions; it has {sizes}", param="dimensions")
    return size


def _prompt(model: ServedModel, name: str | None, kind: Literal["query", "document"] | None) -> str:
    if name is None:
        return prompt_for(model.prompts, kind) if kind else model.default_prompt
    if kind is not None:
        raise ApiError("'prompt_name' and 'input_type' both choose the prompt; send one of them", param="prompt_name")
    if name in model.prompts:
        return model.prompts[name]
    if name not in model.empty_prompts:
        known = ", ".join(sorted(model.prompts)) or "none"
        raise ApiError(f"this model has no prompt {quoted(name)}; its prompts: {known}", param="prompt_name")
    return ""
