"""The HTTP application: routes, limits and errors. It knows nothing of Ray."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import numpy as np
import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from serve.engine import Embed, Engine
from serve.schemas import MAX_BODY_BYTES, ApiError, EmbeddingsRequest, EmbeddingsResponse, Vectors, embeddings_body

_LOG = logging.getLogger(__name__)
_HEALTH_TIMEOUT_S = 30.0


def create_api(engine: Engine, embed: Embed) -> FastAPI:
    """The application over one student.

    Args:
        engine: checks requests and describes the model.
        embed: answers one chunk, alone or together with chunks of other requests.
    """
    api = FastAPI(title="mtd-ray embeddings", version="1", docs_url="/docs", redoc_url=None)

    @api.post("/v1/embeddings", responses={200: {"model": EmbeddingsResponse}}, openapi_extra=_request_schema())
    async def embeddings(request: Request) -> Response:
        asked = EmbeddingsRequest.parse(await _body(request))
        work = await engine.prepare(asked)
        vectors = np.concatenate(await asyncio.gather(*(embed(chunk) for chunk in work.chunks)))
        if asked.normalize:
            vectors = _unit(vectors)
        return _json(embeddings_body(vectors, model=engine.name, tokens=work.tokens, encoding=asked.encoding_format))

    @api.get("/v1/models")
    async def models() -> Response:
        return _json(orjson.dumps({"object": "list", "data": [_model(engine)]}))

    @api.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        if name != engine.name:
            raise ApiError(f"there is no model {name!r} here; this server has {engine.name!r}", status=404, code="model_not_found")
        return _json(orjson.dumps(_model(engine)))

    @api.get("/health")
    async def health() -> Response:
        await check_alive(engine, embed)
        return _json(b'{"status":"ok"}')

    api.add_exception_handler(ApiError, _answer_fault)
    api.add_exception_handler(HTTPException, _answer_http)
    api.add_exception_handler(Exception, _answer_bug)
    return api


async def check_alive(engine: Engine, embed: Embed) -> None:
    """Send the smallest piece of work the whole way.

    Raises:
        ApiError: (503) no answer came in time, or a wrong one.
    """
    try:
        await asyncio.wait_for(embed(engine.probe), _HEALTH_TIMEOUT_S)
    except Exception as error:
        _LOG.exception("the model does not answer")
        raise ApiError(f"the model does not answer: {type(error).__name__}", status=503) from error


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise ApiError(f"the body is longer than {MAX_BODY_BYTES} bytes; send fewer texts at once", status=413)
    return bytes(body)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def _model(engine: Engine) -> dict[str, Any]:
    return {
        "id": engine.name,
        "object": "model",
        "created": 0,
        "owned_by": "mtd-ray",
        "dimensions": list(engine.heads),
        "default_dimensions": engine.default_head,
        "max_tokens": engine.max_tokens,
        "prompts": sorted(engine.prompts),
    }


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


async def _answer_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 (registered for this type)
    return _json(error.body, error.status)


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this type)
    answer = ApiError(f"{request.method} {request.url.path}: {error.detail}", status=error.status_code)
    return _json(answer.body, error.status_code)


async def _answer_bug(request: Request, error: Exception) -> Response:
    _LOG.error("request failed", exc_info=error)
    return _json(ApiError("the server failed to answer; its log says why", status=500).body, 500)


def _request_schema() -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": EmbeddingsRequest.model_json_schema()}}}}
