"""Voyage's wire format: https://docs.voyageai.com/reference/embeddings-api.

Voyage's own path is OpenAI's, ``/v1/embeddings``; here it is ``POST /voyage/v1/embeddings``, so a client's base URL is
``http://host:port/voyage/v1``.
"""

from __future__ import annotations

from typing import Literal

import orjson
from pydantic import Field

from mtd_ray.config.catalog import catalog
from mtd_ray.sandbox.provider_models import count_tokens, cut_text
from mtd_ray.sandbox.provider_quota import Verdict
from mtd_ray.sandbox.provider_wire import Answer, Body, OverLong, Question, Reading, RefusedError, validated

PROVIDER = "voyage"
MAX_INPUTS = 1_000
MAX_TOKENS_EACH = 32_000
MAX_TOKENS_TOGETHER = 120_000  # unless the catalogue lists another for the model

_SAYINGS = {
    401: "Provided API key is invalid.",
    403: "The IP address of this request is not allowed.",
    429: "You have exceeded your rate limit of requests or tokens per minute.",
    500: "An unexpected error occurred on the server.",
    503: "The servers are overloaded.",
}


class _Body(Body):
    model: str
    input: str | list[str]
    input_type: Literal["query", "document"] | None = None
    truncation: bool = True
    output_dimension: int | None = Field(default=None, ge=1)
    output_dtype: Literal["float"] = "float"
    encoding_format: Literal["base64"] | None = None


def parse(body: bytes) -> Question:
    """The question of a request body."""
    sent = validated(_Body, body)
    texts = [sent.input] if isinstance(sent.input, str) else sent.input
    over_long: OverLong = "keep_start" if sent.truncation else "refuse"
    return Question(sent.model, texts, sent.output_dimension, (sent.encoding_format or "float",), over_long)


def read(question: Question) -> Reading:
    """The texts and their tokens, within Voyage's caps."""
    if not 1 <= len(question.texts) <= MAX_INPUTS:
        raise RefusedError(400, f"The input must have 1 to {MAX_INPUTS} texts, not {len(question.texts)}.")
    if not all(question.texts):
        raise RefusedError(400, "Input cannot contain empty strings.")
    texts = [cut_text(text, MAX_TOKENS_EACH, question.over_long) for text in question.texts]
    tokens = [count_tokens(text) for text in texts]
    if max(tokens) > MAX_TOKENS_EACH:
        raise RefusedError(400, f"A text has {max(tokens)} tokens, the most is {MAX_TOKENS_EACH}; set truncation.")
    most = catalog().model(PROVIDER, question.model).request_tokens or MAX_TOKENS_TOGETHER
    if sum(tokens) > most:
        raise RefusedError(400, f"The request has {sum(tokens)} tokens, the most is {most}.")
    return Reading(texts, tokens)


def render(question: Question, answer: Answer) -> bytes:
    """The body of an answer."""
    pairs = zip(answer.indices, answer.encoded(question.encodings[0]), strict=True)
    data = [{"object": "embedding", "embedding": vector, "index": index} for index, vector in pairs]
    return orjson.dumps({"object": "list", "data": data, "model": question.model, "usage": {"total_tokens": answer.tokens}})


def saying(status: int, code: str | None = None) -> RefusedError:
    """What Voyage says with an error; it has no codes."""
    return RefusedError(status, _SAYINGS.get(status, f"sandbox fault {status}"))


def render_error(error: RefusedError) -> bytes:
    """The body of an error."""
    return orjson.dumps({"detail": str(error)})


def rate_headers(verdict: Verdict) -> dict[str, str]:
    """None are promised."""
    return {}
