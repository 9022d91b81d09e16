"""The OpenAPI document: every route with examples that this server answers, and every refusal in its API's own form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serve.api.openai import models_of
from serve.api.tei import info_of
from serve.engine.engine import Engine
from serve.engine.question import Description
from serve.wire import openai, tei
from serve.wire.faults import ApiError

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"
_SHOWN: tuple[type[BaseModel], ...] = (
    openai.EmbeddingsRequest,
    openai.EmbeddingsResponse,
    openai.Model,
    openai.ModelList,
    openai.FaultResponse,
    tei.EmbedRequest,
    tei.EmbedResponse,
    tei.Info,
    tei.ErrorResponse,
)
_FAULTS = {
    400: ("The message says what is wrong with the request, and what would be right.", "the field 'input' is required"),
    401: ("No valid API key.", "the API key is not one of this server's"),
    404: ("No such model.", "there is no model 'other' here"),
    408: ("The body did not arrive in time.", "the body did not arrive within 30 s"),
    413: ("Too much for one request.", "the body is longer than 8388608 bytes; send fewer texts at once"),
    422: ("The body is no such request.", "the field 'inputs' is required"),
    424: ("The model failed on a text.", "the model failed on input 3"),
    429: ("The queue is full; Retry-After says when it will not be.", "the queue is full"),
    500: ("The model failed on a text.", "the model failed on input 3"),
    503: ("The model does not answer, or the server is closing.", "the model does not answer"),
    504: ("The deadline passed.", "there was no answer within 30 s"),
}
_EMPTY = ("There is no text, or an empty one.", "input 3 is an empty text")
_RETRY = {"Retry-After": {"description": "In seconds.", "schema": {"type": "integer", "minimum": 1}}}
_TEXT = "Return the index of the first match."
_VECTOR = [0.0214, -0.1371, 0.0583]


def document(engine: Engine, *, title: str, protected: bool) -> Json:
    """The document of a server of these models; ``protected`` when it needs keys."""
    _, shown = models_json_schema([(model, "validation") for model in _SHOWN], ref_template=_REF)
    schemas = shown["$defs"]
    _narrow(schemas["EmbeddingsRequest"]["properties"], engine.models)
    _narrow(schemas["EmbedRequest"]["properties"], engine.models[:1])
    components: Json = {"schemas": schemas}
    if protected:
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "api-key"},
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "paths": {**_asked(engine, protected), **_told(engine, protected), **_operations()},
        "components": components,
    }


def _narrow(fields: Json, models: Sequence[Description]) -> None:
    """Name what is served here as the values of a request's fields."""
    sizes: Json = {"enum": sorted({size for told in models for size in told.sizes})}
    if any(told.any_size for told in models):
        sizes = {"minimum": 1, "maximum": max(sizes["enum"])}
    served = {
        "model": {"enum": [told.name for told in models]},
        "dimensions": sizes,
        "prompt_name": {"enum": sorted({prompt for told in models for prompt in told.prompts})},
    }
    for name in served.keys() & fields.keys():
        if served[name] != {"enum": []}:
            fields[name]["anyOf"][0] |= served[name]


def _asked(engine: Engine, protected: bool) -> Json:
    model = engine.models[0]
    usage = {"prompt_tokens": 10, "total_tokens": 10}
    vector = {"object": "embedding", "index": 0, "embedding": _VECTOR}
    embeddings = _operation(
        "Vectors of texts, as OpenAI's API gives them",
        _json("EmbeddingsResponse", {"object": "list", "data": [vector], "model": model.name, "usage": usage}),
        _faults((400, 404, 408, 413, 429, 500, 503, 504), protected, openai.FaultResponse),
        protected,
    )
    embeddings["requestBody"] = _body(
        "EmbeddingsRequest",
        {
            "a text": {"model": model.name, "input": _TEXT},
            "texts, smallest size": {"input": [_TEXT, "Sort a list."], "dimensions": min(model.sizes), "encoding_format": "base64"},
            **_of_ids(engine),
            "bits of a query": {"input": [_TEXT], "input_type": "query", "output_dtype": "ubinary", "truncate": True},
        },
    )
    embed = _operation(
        "Vectors of texts, as text-embeddings-inference gives them",
        _json("EmbedResponse", [_VECTOR]),
        _faults((400, 408, 413, 422, 424, 429, 503, 504), protected, tei.ErrorResponse),
        protected,
    )
    embed["requestBody"] = _body("EmbedRequest", {"a text": {"inputs": _TEXT}, "texts": {"inputs": [_TEXT], "truncate": True}})
    return {"/v1/embeddings": {"post": embeddings}, "/embed": {"post": embed}}


def _of_ids(engine: Engine) -> Json:
    ids = engine.example_ids
    return {} if ids is None else {"token ids": {"input": [ids], "normalize": True, "user": "someone"}}


def _told(engine: Engine, protected: bool) -> Json:
    models = models_of(engine).model_dump()
    one = _operation("One model", _json("Model", models["data"][0]), _faults((404,), protected, openai.FaultResponse), protected)
    one["parameters"] = [
        {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}, "example": engine.models[0].name}
    ]
    every = _operation("The models", _json("ModelList", models), _faults((), protected, openai.FaultResponse), protected)
    info = _operation(
        "The model and the limits, as text-embeddings-inference tells them",
        _json("Info", info_of(engine).model_dump()),
        _faults((), protected, tei.ErrorResponse),
        protected,
    )
    return {"/v1/models": {"get": every}, "/v1/models/{name}": {"get": one}, "/info": {"get": info}}


def _operations() -> Json:
    alive = {"application/json": {"schema": {"type": "object"}, "example": {"status": "ok"}}}
    metrics = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "/health": {
            "get": _operation("Whether a text goes through the model", alive, _faults((503,), False, openai.FaultResponse), False)
        },
        "/metrics": {"get": _operation("Figures for Prometheus", metrics, {}, False)},
    }


def _operation(summary: str, content: Json, faults: Json, protected: bool) -> Json:
    responses = {"200": {"description": "Done.", "content": content}, **faults}
    operation = {"summary": summary, "responses": responses}
    return operation | {"security": [{"bearer": []}, {"header": []}]} if protected else operation


def _faults(statuses: tuple[int, ...], protected: bool, form: type[openai.FaultResponse | tei.ErrorResponse]) -> Json:
    return {str(status): _fault(status, form) for status in ((401, *statuses) if protected else statuses)}


def _fault(status: int, form: type[openai.FaultResponse | tei.ErrorResponse]) -> Json:
    is_tei = form is tei.ErrorResponse
    description, message = _EMPTY if is_tei and status == 400 else _FAULTS[status]
    fault = ApiError(message, status=500 if status == 424 else status, code="empty_input" if is_tei and status == 400 else None)
    example = orjson.loads(fault.tei_body if is_tei else fault.body)
    told: Json = {"description": description, "content": _json(form.__name__, example)}
    return told | {"headers": _RETRY} if status == 429 else told


def _body(schema: str, examples: Json) -> Json:
    shown = {name: {"value": example} for name, example in examples.items()}
    return {"required": True, "content": {"application/json": {"schema": _ref(schema), "examples": shown}}}


def _json(schema: str, example: Any) -> Json:
    return {"application/json": {"schema": _ref(schema), "example": example}}


def _ref(schema: str) -> Json:
    return {"$ref": _REF.format(model=schema)}
