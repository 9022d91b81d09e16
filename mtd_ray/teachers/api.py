"""Teachers behind a provider's API: full requests, refused texts found, answers checked. What differs is in the wire formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import orjson

from mtd_ray.config import ApiTeacher, CohereTeacher, Kind, OpenAITeacher, VoyageTeacher
from mtd_ray.teachers.base import Answer, BadAnswer, Limiter, TeacherError, Unlimited, Vectors, require_shape, set_aside_bad_rows
from mtd_ray.teachers.batches import TokenEstimate, fill_batches
from mtd_ray.teachers.cohere import CohereWire
from mtd_ray.teachers.http import Endpoint, RefusedError, RetryPolicy, Tally
from mtd_ray.teachers.openai import OpenAIWire
from mtd_ray.teachers.voyage import VoyageWire
from mtd_ray.teachers.wire import Wire

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


class ApiTeacherClient:
    """Asks a provider over HTTP.

    Vectors travel as base64, which is smaller and quicker to read than JSON numbers. Texts that the provider embeds for different
    tasks go in different requests. A request the provider refuses is halved until the bad text is alone; that text becomes a
    failed row.

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
        config: ApiTeacher,
        *,
        limiter: Limiter | None = None,
        policy: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._name, self._config = name, config
        self._wire = wire_of(config)
        self._estimate = TokenEstimate()
        self._answered = False
        self._failed = 0
        self._endpoint = Endpoint(
            name,
            config.base_url.rstrip("/") + self._wire.path,
            key=config.api_key,
            timeout_s=config.timeout_s,
            limiter=limiter or Unlimited(),
            policy=policy or RetryPolicy(),
            read_error=self._wire.read_error,
            parameters=self._wire.parameters,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"ApiTeacherClient({self._name!r}, {self._endpoint!r})"

    def close(self) -> None:
        self._endpoint.close()

    def embed(self, texts: Sequence[str], kinds: Sequence[Kind]) -> Answer:
        """See :class:`mtd_ray.teachers.base.TeacherClient`. Texts with a prompt of their kind get it put in front."""
        prompted = [self._config.prompts.get(kind, "") + text for text, kind in zip(texts, kinds, strict=True)]
        work = _Work(prompted, np.zeros((len(prompted), self._config.dimensions), np.float32))
        by_task: dict[str | None, list[int]] = {}
        for row, kind in enumerate(kinds):
            by_task.setdefault(self._wire.task(kind), []).append(row)
        caps = request_caps(self._config)
        for task, rows in by_task.items():
            for batch in fill_batches([prompted[row] for row in rows], self._estimate, **caps):
                self._embed_rows([rows[index] for index in batch], task, work)
        return Answer(work.vectors, work.failures, work.tokens, work.tally.requests, work.tally.rejected)

    def _embed_rows(self, rows: list[int], task: str | None, work: _Work) -> None:
        pending = [rows]
        while pending:
            rows = pending.pop()
            try:
                vectors, failures = self._ask([work.texts[row] for row in rows], task, work)
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

    def _ask(self, texts: list[str], task: str | None, work: _Work) -> tuple[Vectors, dict[int, str]]:
        """Vectors ``(len(texts), dim)`` and row → reason of those the teacher answers unusably time after time."""
        tokens = sum(map(self._estimate.of, texts))
        body = self._wire.body(texts, task)
        for tries_left in reversed(range(_TRIES_OF_A_BAD_ANSWER)):
            reply = _parsed(self._endpoint.post(body, tokens=tokens, inputs=len(texts), tally=work.tally))
            counted = self._wire.read_usage(reply)
            work.tokens += counted or tokens  # an answer is paid for, usable or not
            try:
                vectors = self._wire.read_vectors(reply, len(texts), self._name)
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


def wire_of(config: ApiTeacher) -> Wire:
    """The wire format of a teacher's provider."""
    if isinstance(config, CohereTeacher):
        return CohereWire(config)
    if isinstance(config, VoyageTeacher):
        return VoyageWire(config)
    if isinstance(config, OpenAITeacher):
        return OpenAIWire(config)
    raise TypeError(f"no wire format for {type(config).__name__}")


def request_caps(config: ApiTeacher) -> dict[str, int]:
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
