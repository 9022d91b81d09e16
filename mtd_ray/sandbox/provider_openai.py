"""OpenAI's wire format, ``POST /v1/embeddings``.

Caps, error bodies and rate headers follow https://platform.openai.com/docs/api-reference/embeddings and
https://platform.openai.com/docs/guides/rate-limits.
"""

from __future__ import annotations

import orjson
from pydantic import Field

from mtd_ray.sandbox.provider_models import count_tokens
from mtd_ray.sandbox.provider_quota import Verdict
from mtd_ray.sandbox.provider_wire import Answer, Body, Encoding, Question, Reading, RefusedError, validated

PROVIDER = "openai"
MAX_INPUTS = 2_048
MAX_TOKENS_EACH = 8_192
MAX_TOKENS_TOGETHER = 300_000

# Status or code → message, "type", code. A 429 with "insufficient_quota" means that the money is spent: waiting does not help.
_SAYINGS: dict[int | str, tuple[str, str, str | None]] = {
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    403: ("Country, region, or territory not supported", "request_forbidden", "unsupported_country_region_territory"),
    429: ("Rate limit reached. Please try again later.", "requests", "rate_limit_exceeded"),
    "insufficient_quota": ("You exceeded your current quota: check your billing.", "insufficient_quota", "insufficient_quota"),
    500: ("The server had an error while processing your request.", "server_error", None),
    503: ("The engine is currently overloaded.", "server_error", None),
}


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
    pairs = zip(answer.indices, answer.encoded(question.encodings[0]), strict=True)
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in pairs]
    usage = {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens}
    return orjson.dumps({"object": "list", "data": data, "model": question.model, "usage": usage})


def saying(status: int, code: str | None = None) -> RefusedError:
    """What OpenAI says with an error."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    plain = (f"sandbox fault {status}", kind, None if status < 500 else "server_error")
    message, kind, usual = _SAYINGS.get(code or status) or _SAYINGS.get(status, plain)
    return RefusedError(status, message, code or usual, kind=kind)


def render_error(error: RefusedError) -> bytes:
    """The body of an error."""
    kind = error.kind or "invalid_request_error"
    return orjson.dumps({"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}})


def rate_headers(verdict: Verdict) -> dict[str, str]:
    """Limits, remainders and Go durations; two kinds of ``retry-after`` when turned away."""
    return verdict.headers
