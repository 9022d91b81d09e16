"""OpenAI's wire format, ``POST /v1/embeddings``.

Caps, error bodies and rate headers follow https://platform.openai.com/docs/api-reference/embeddings and
https://platform.openai.com/docs/guides/rate-limits.
"""

from __future__ import annotations

import orjson
from pydantic import Field

from mtd_ray.sandbox.provider_models import count_tokens
from mtd_ray.sandbox.provider_quota import Verdict
from mtd_ray.sandbox.provider_wire import Answer, Body, Encoding, Question, Reading, RefusedError, encoded, validated

MAX_INPUTS = 2_048
MAX_TOKENS_EACH = 8_192
MAX_TOKENS_TOGETHER = 300_000


class _Body(Body):
    model: str
    input: str | list[str]
    dimensions: int | None = Field(default=None, ge=1)
    encoding_format: Encoding = "float"
    user: str | None = None


def parse(body: bytes) -> Question:
    """The question of a request body."""
    sent = validated(_Body, body)
    texts = [sent.input] if isinstance(sent.input, str) else sent.input
    return Question(sent.model, texts, sent.dimensions, (sent.encoding_format,))


def read(question: Question) -> Reading:
    """The texts and their tokens, within OpenAI's caps."""
    texts = question.texts
    if not 1 <= len(texts) <= MAX_INPUTS:
        raise RefusedError(400, f"'input' must have 1 to {MAX_INPUTS} items.", param="input")
    if not all(texts):
        raise RefusedError(400, "'input' cannot be an empty string.", param="input")
    tokens = [count_tokens(text) for text in texts]
    if max(tokens) > MAX_TOKENS_EACH:
        message = f"This model's maximum context length is {MAX_TOKENS_EACH} tokens, however you requested {max(tokens)} tokens."
        raise RefusedError(400, message, "context_length_exceeded", param="input")
    if sum(tokens) > MAX_TOKENS_TOGETHER:
        message = f"Requested {sum(tokens)} tokens, max {MAX_TOKENS_TOGETHER} tokens per request."
        raise RefusedError(400, message, "max_tokens_per_request", param="input")
    return Reading(texts, tokens)


def render(question: Question, answer: Answer) -> bytes:
    """The body of an answer."""
    pairs = zip(answer.indices, encoded(answer.vectors, question.encodings[0]), strict=True)
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in pairs]
    usage = {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens}
    return orjson.dumps({"object": "list", "data": data, "model": question.model, "usage": usage})


def render_error(error: RefusedError) -> bytes:
    """The body of an error."""
    kind = "requests" if error.status == 429 else "invalid_request_error" if error.status < 500 else "server_error"
    return orjson.dumps({"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}})


def rate_headers(verdict: Verdict) -> dict[str, str]:
    """Limits, remainders and Go durations; two kinds of ``retry-after`` when turned away."""
    return verdict.headers
