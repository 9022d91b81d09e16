"""Teachers behind OpenAI's embeddings wire format, at OpenAI or any compatible server.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import orjson

from mtd_ray.config import Kind, OpenAITeacher
from mtd_ray.teachers.base import Answer, BadAnswer, Limiter, TeacherError, Unlimited, Vectors, require_shape, set_aside_bad_rows
from mtd_ray.teachers.batches import TokenEstimate, fill_batches
from mtd_ray.teachers.http import Endpoint, ErrorBody, RefusedError, RetryPolicy, Tally

_PARAMETERS = frozenset({"model", "dimensions", "encoding_format"})
_TRIES_OF_A_BAD_ANSWER = 3
_FAILURES_BEFORE_GIVING_UP = 8


@dataclass
class _Work:
    """One ``embed`` call under way."""

    texts: list[str]
    vectors: Vectors
    failures: dict[int, str] = field(default_factory=dict)
    tokens: int = 0
    tally: Tally = field(default_factory=Tally)


class OpenAITeacherClient:
    """Asks ``POST {base_url}/embeddings``.

    Vectors travel as base64, which is smaller and quicker to read than JSON numbers; a server that ignores the wish and sends
    numbers is understood too. A request the provider refuses is halved until the bad text is alone; that text becomes a failed row.

    Args:
        name: the teacher's name in the recipe.
        config: its recipe entry.
        limiter: shares the account's quota with other workers.
        policy: waiting and retrying.
        transport: replaces the network in tests.

    Raises:
        RecipeError: the key's reference leads nowhere.
    """

    def __init__(
        self,
        name: str,
        config: OpenAITeacher,
        *,
        limiter: Limiter | None = None,
        policy: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._name, self._config = name, config
        self._estimate = TokenEstimate()
        self._answered = False
        self._failed = 0
        self._endpoint = Endpoint(
            name,
            f"{config.base_url.rstrip('/')}/embeddings",
            key=config.api_key,
            timeout_s=config.timeout_s,
            limiter=limiter or Unlimited(),
            policy=policy or RetryPolicy(),
            read_error=read_error,
            parameters=_PARAMETERS,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"OpenAITeacherClient({self._name!r}, {self._endpoint!r})"

    def close(self) -> None:
        self._endpoint.close()

    def embed(self, texts: Sequence[str], kinds: Sequence[Kind]) -> Answer:
        """See :class:`mtd_ray.teachers.base.TeacherClient`. Texts with a prompt of their kind get it put in front."""
        prompted = [self._config.prompts.get(kind, "") + text for text, kind in zip(texts, kinds, strict=True)]
        work = _Work(prompted, np.zeros((len(prompted), self._config.dimensions), np.float32))
        for rows in fill_batches(prompted, self._estimate, **request_caps(self._config)):
            self._embed_rows(rows, work)
        return Answer(work.vectors, work.failures, work.tokens, work.tally.requests, work.tally.rejected)

    def _embed_rows(self, rows: list[int], work: _Work) -> None:
        pending = [rows]
        while pending:
            rows = pending.pop()
            try:
                vectors, failures = self._ask([work.texts[row] for row in rows], work)
            except RefusedError as refusal:
                if len(rows) > 1:
                    middle = len(rows) // 2
                    pending += [rows[middle:], rows[:middle]]
                    continue
                vectors, failures = np.zeros((1, self._config.dimensions), np.float32), {0: str(refusal)}
            work.vectors[rows] = vectors
            work.failures |= {rows[row]: reason for row, reason in failures.items()}
            self._require_some_success(len(rows), failures)

    def _require_some_success(self, asked: int, failures: dict[int, str]) -> None:
        """When not one text has ever been embedded, the fault is not in the texts: stop before all are recorded as bad."""
        self._answered = self._answered or asked > len(failures)
        self._failed += len(failures)
        if not self._answered and self._failed >= _FAILURES_BEFORE_GIVING_UP:
            reason = next(iter(failures.values()))
            raise TeacherError(
                f"teacher {self._name}: none of the first {self._failed} texts could be embedded, the last one: {reason}; "
                f"check teachers.{self._name} in the recipe"
            )

    def _ask(self, texts: list[str], work: _Work) -> tuple[Vectors, dict[int, str]]:
        """Vectors ``(len(texts), dim)`` and row → reason of those the teacher answers unusably time after time."""
        tokens = sum(map(self._estimate.of, texts))
        body = self._body(texts)
        for tries_left in reversed(range(_TRIES_OF_A_BAD_ANSWER)):
            reply = _parsed(self._endpoint.post(body, tokens=tokens, inputs=len(texts), tally=work.tally))
            counted = read_usage(reply)
            work.tokens += counted or tokens  # an answer is paid for, usable or not
            try:
                vectors = read_vectors(reply, len(texts), self._name)
            except BadAnswer:
                if tries_left == 0:
                    raise
                continue
            # Not asked again: a model's size stays what it is, and every answer costs.
            require_shape(vectors, len(texts), self._config.dimensions, self._name)
            self._estimate.correct(texts, counted)
            if tries_left == 0 or np.isfinite(vectors).all():
                break
        return self._set_aside(vectors)

    def _set_aside(self, vectors: Vectors) -> tuple[Vectors, dict[int, str]]:
        vectors, failures = set_aside_bad_rows(vectors)
        if len(failures) == len(vectors) > 1:
            raise BadAnswer(f"teacher {self._name}: none of {len(vectors)} vectors of an answer is usable: {failures[0]}")
        return vectors, failures

    def _body(self, texts: list[str]) -> bytes:
        body: dict[str, Any] = {"model": self._config.model, "input": texts, "encoding_format": "base64"}
        if self._config.send_dimensions:
            body["dimensions"] = self._config.dimensions
        return orjson.dumps(body)


def read_error(body: bytes) -> ErrorBody:
    """OpenAI's ``{"error": {message, type, param, code}}``; anything else becomes a message as it stands."""
    try:
        error = orjson.loads(body)["error"]
        code = error.get("code") or error.get("type") or ""
        return ErrorBody(str(error.get("message") or ""), str(code), str(error.get("param") or ""))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ErrorBody(body[:1000].decode(errors="replace"))


def request_caps(config: OpenAITeacher) -> dict[str, int]:
    """The caps of :func:`fill_batches`: the provider's, or the quota of one minute where that is less.

    A request that is larger than the quota would be turned away however long it waits.
    """
    tokens, inputs = config.quota.tokens_per_minute, config.quota.inputs_per_minute
    return {
        "max_inputs": config.max_inputs if inputs is None else max(1, min(config.max_inputs, int(inputs))),
        "max_request_tokens": config.max_request_tokens if tokens is None else max(1, min(config.max_request_tokens, int(tokens))),
        "max_tokens": config.max_tokens,
    }


def _parsed(body: bytes) -> Any:
    """The answer's JSON; None when it is none, which has neither usage nor vectors."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def read_usage(reply: Any) -> int:
    """The tokens the provider counted, 0 when it does not say."""
    try:
        return max(0, int(reply["usage"]["prompt_tokens"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0


def read_vectors(reply: Any, rows: int, teacher: str) -> Vectors:
    """Vectors ``(rows, dim)`` of a parsed answer, put in the order of ``index``.

    Raises:
        BadAnswer: it is no embeddings answer, an index is missing or stands twice, or vectors differ in size.
    """
    try:
        by_index = {int(entry["index"]): _vector(entry["embedding"]) for entry in reply["data"]}
        count = len(reply["data"])
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise BadAnswer(f"teacher {teacher}: the answer is not an embeddings answer ({type(error).__name__}: {error})") from None
    if count != rows or sorted(by_index) != list(range(rows)):
        raise BadAnswer(
            f"teacher {teacher}: {rows} texts were asked for, the answer has {count} vectors with {len(by_index)} different indices"
        )
    sizes = {len(vector) for vector in by_index.values()}
    if len(sizes) != 1:
        raise BadAnswer(f"teacher {teacher}: the vectors of one answer have different sizes: {sorted(sizes)}")
    return np.stack([by_index[row] for row in range(rows)])


def _vector(wire: str | list[float]) -> Vectors:
    """One vector ``(dim,)``: base64 of little-endian float32, or plain numbers (null, which JSON has for NaN, included)."""
    if isinstance(wire, str):
        return np.frombuffer(base64.b64decode(wire, validate=True), dtype="<f4").astype(np.float32, copy=False)
    numbers = np.array(wire, dtype=np.float32)
    if numbers.ndim != 1:
        raise ValueError("an embedding is a list of numbers")
    return numbers
