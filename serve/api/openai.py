"""OpenAI's routes."""

from __future__ import annotations

from serve.api.endpoint import Endpoint
from serve.engine.engine import Engine
from serve.engine.question import Answer, Description, Question
from serve.wire.faults import ApiError, quoted
from serve.wire.openai import EmbeddingsRequest, Model, ModelList, embeddings_body


class Embeddings(Endpoint[EmbeddingsRequest]):
    """``POST /v1/embeddings``."""

    form = EmbeddingsRequest

    def question(self, asked: EmbeddingsRequest, owner: str) -> Question:
        return Question(
            model=asked.model,
            rows=asked.input,
            size=asked.dimensions,
            prompt_name=asked.prompt_name,
            input_type=asked.input_type,
            truncate=asked.truncate or False,
            normalize=asked.normalize or False,
            flow=owner or asked.user or "",
        )

    def body(self, answer: Answer, asked: EmbeddingsRequest) -> bytes:
        return embeddings_body(
            answer.vectors, model=answer.model, tokens=answer.tokens, encoding=asked.encoding_format, dtype=asked.output_dtype
        )

    def refusal(self, fault: ApiError) -> tuple[bytes, int]:
        return fault.body, fault.status


def models_of(engine: Engine) -> ModelList:
    """``GET /v1/models``."""
    return ModelList(object="list", data=[_model(told) for told in engine.models])


def model_of(engine: Engine, name: str) -> Model:
    """``GET /v1/models/{name}``.

    Raises:
        ApiError: (404) there is none of this name.
    """
    for told in engine.models:
        if told.name == name:
            return _model(told)
    served = ", ".join(repr(told.name) for told in engine.models)
    raise ApiError(
        f"there is no model {quoted(name)} here; this server has {served}", status=404, param="model", code="model_not_found"
    )


def _model(told: Description) -> Model:
    return Model(
        id=told.name,
        object="model",
        created=0,
        owned_by="mtd-ray",
        dimensions=list(told.sizes),
        any_dimensions=told.any_size,
        default_dimensions=told.default_size,
        max_tokens=told.max_tokens,
        prompts=list(told.prompts),
    )
