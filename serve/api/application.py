"""The HTTP application."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import orjson
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Route

from serve.api.bodies import Uploads
from serve.api.document import document
from serve.api.endpoint import failed
from serve.api.keys import Keys
from serve.api.openai import Embeddings, model_of, models_of
from serve.api.operations import METRICS_TYPE, health_of, metrics_of
from serve.api.tei import PATHS as TEI_PATHS
from serve.api.tei import Embed, info_of
from serve.engine.engine import Engine
from serve.wire.faults import ApiError, quoted

_LOG = logging.getLogger(__name__)
_TITLE = "mtd-ray embeddings"

Handler = Callable[[Request], Awaitable[Response]]


def create_api(engine: Engine, *, keys: Keys | None = None, title: str = _TITLE) -> FastAPI:
    """The application over an engine.

    Where there are keys, everything needs one but ``/health``, ``/metrics`` and the pages about the API.
    """
    api = FastAPI(title=title, docs_url="/docs", redoc_url=None, redirect_slashes=False)
    api.router.routes[:0] = _routes(engine, keys)
    described = document(engine, title=title, protected=keys is not None)
    api.openapi = lambda: described  # type: ignore[method-assign]
    api.add_exception_handler(ApiError, _answer_fault)
    api.add_exception_handler(HTTPException, _answer_http)
    api.add_exception_handler(Exception, _answer_bug)
    return api


def _routes(engine: Engine, keys: Keys | None) -> list[Route]:
    async def models(request: Request) -> Response:
        return _json(models_of(engine))

    async def model(request: Request) -> Response:
        return _json(model_of(engine, request.path_params["name"]))

    async def info(request: Request) -> Response:
        return _json(info_of(engine))

    async def health(request: Request) -> Response:
        return Response(orjson.dumps(await health_of(engine)), media_type="application/json")

    async def metrics(request: Request) -> Response:
        return Response(metrics_of(engine), media_type=METRICS_TYPE)

    uploads = Uploads(engine.limits)
    return [
        Route("/v1/embeddings", Embeddings(engine, keys, uploads), methods=["POST"]),
        Route("/embed", Embed(engine, keys, uploads), methods=["POST"]),
        Route("/v1/models", _guarded(models, keys)),
        Route("/v1/models/{name:path}", _guarded(model, keys)),
        Route("/info", _guarded(info, keys)),
        Route("/health", health),
        Route("/metrics", metrics),
    ]


def _guarded(handler: Handler, keys: Keys | None) -> Handler:
    async def guarded(request: Request) -> Response:
        if keys is not None:
            keys.owner(request.scope["headers"])
        return await handler(request)

    return guarded


def _json(told: BaseModel) -> Response:
    return Response(orjson.dumps(told.model_dump()), media_type="application/json")


async def _answer_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 (registered for this type)
    headers = {name.decode(): value.decode() for name, value in error.headers}
    if request.url.path in TEI_PATHS:
        return Response(error.tei_body, error.tei_status, headers, "application/json")
    return Response(error.body, error.status, headers, "application/json")


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this type)
    answer = await _answer_fault(
        request, ApiError(f"{request.method} {quoted(request.url.path)}: {error.detail}", status=error.status_code)
    )
    answer.headers.update(error.headers or {})
    return answer


async def _answer_bug(request: Request, error: Exception) -> Response:
    _LOG.error("%s failed", quoted(request.url.path), exc_info=error)
    return await _answer_fault(request, failed())
