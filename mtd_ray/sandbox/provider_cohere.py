"""Cohere's wire format, ``POST /v2/embed``: https://docs.cohere.com/reference/embed.

Answers carry no index: after the faults ``reorder`` and ``duplicate_index`` a client cannot tell.
"""

from __future__ import annotations

import math
import time
import uuid
from typing import Literal

import orjson
from pydantic import Field

from mtd_ray.sandbox.provider_models import count_tokens, cut_text
from mtd_ray.sandbox.provider_quota import Verdict
from mtd_ray.sandbox.provider_wire import Answer, Body, Encoding, OverLong, Question, Reading, RefusedError, validated

PROVIDER = "cohere"
MAX_INPUTS = 96
MAX_TOKENS_EACH = 128_000

# `truncate` names the end that is cut off.
_OVER_LONG: dict[str, OverLong] = {"NONE": "refuse", "START": "keep_end", "END": "keep_start"}

_SAYINGS = {
    401: "invalid api token",
    402: "the billing cap is reached; add or change the payment method",
    403: "this api key may not use the model",
    429: "too many requests; wait before the next call",
    500: "internal server error",
    503: "the service is unavailable",
}


class _Body(Body):
    model: str
    texts: list[str]
    input_type: Literal["search_document", "search_query", "classification", "clustering"]
    embedding_types: list[Encoding] = Field(default=["float"], min_length=1)
    output_dimension: int | None = Field(default=None, ge=1)
    truncate: Literal["NONE", "START", "END"] = "END"


def parse(body: bytes) -> Question:
    """The question of a request body."""
    sent = validated(_Body, body)
    return Question(sent.model, sent.texts, sent.output_dimension, tuple(sent.embedding_types), _OVER_LONG[sent.truncate])


def read(question: Question) -> Reading:
    """The texts and their tokens, within Cohere's caps."""
    if not 1 <= len(question.texts) <= MAX_INPUTS:
        raise RefusedError(400, f"invalid request: texts must have 1 to {MAX_INPUTS} items, not {len(question.texts)}")
    if not all(question.texts):
        raise RefusedError(400, "invalid request: texts cannot hold an empty string")
    texts = [cut_text(text, MAX_TOKENS_EACH, question.over_long) for text in question.texts]
    tokens = [count_tokens(text) for text in texts]
    if max(tokens) > MAX_TOKENS_EACH:
        raise RefusedError(400, f"too many tokens: a text has {max(tokens)}, the most is {MAX_TOKENS_EACH}; set truncate")
    return Reading(texts, tokens)


def render(question: Question, answer: Answer) -> bytes:
    """The body of an answer."""
    body = {
        "id": str(uuid.uuid4()),
        "embeddings": {encoding: answer.encoded(encoding) for encoding in question.encodings},
        "texts": question.texts,
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": answer.tokens}},
        "response_type": "embeddings_by_type",
    }
    return orjson.dumps(body)


def saying(status: int, code: str | None = None) -> RefusedError:
    """What Cohere says with an error; it has no codes."""
    return RefusedError(status, _SAYINGS.get(status, f"sandbox fault {status}"))


def render_error(error: RefusedError) -> bytes:
    """The body of an error."""
    return orjson.dumps({"message": str(error)})


def rate_headers(verdict: Verdict) -> dict[str, str]:
    """When turned away: ``retry-after`` in seconds and ``x-ratelimit-reset`` as Unix time."""
    if verdict.allowed:
        return {}
    return {"retry-after": verdict.headers["retry-after"], "x-ratelimit-reset": str(math.ceil(time.time() + verdict.wait_s))}
