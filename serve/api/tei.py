"""The routes of text-embeddings-inference."""

from __future__ import annotations

from importlib.metadata import version

from serve.api.endpoint import Endpoint
from serve.engine.engine import Engine
from serve.engine.limits import MAX_REQUESTS
from serve.engine.question import Answer, Question
from serve.wire.faults import ApiError
from serve.wire.tei import EmbedRequest, Info, ModelType, Pooling, embed_body

PATHS = ("/embed", "/info")


class Embed(Endpoint[EmbedRequest]):
    """``POST /embed``."""

    form = EmbedRequest

    def question(self, asked: EmbedRequest, owner: str) -> Question:
        if asked.truncate and asked.truncation_direction in ("left", "Left"):
            raise ApiError(
                "texts can only be cut on the right; leave 'truncation_direction' out, or cut them on the left before sending them",
                param="truncation_direction",
            )
        return Question(
            model=None,
            rows=asked.inputs,
            size=asked.dimensions,
            prompt_name=asked.prompt_name,
            truncate=asked.truncate or False,
            normalize=asked.normalize is not False,
            flow=owner,
        )

    def body(self, answer: Answer, asked: EmbedRequest) -> bytes:
        return embed_body(answer.vectors)

    def refusal(self, fault: ApiError) -> tuple[bytes, int]:
        return fault.tei_body, fault.tei_status


def info_of(engine: Engine) -> Info:
    """``GET /info``, of the model that ``/embed`` uses."""
    limits, model = engine.limits, engine.models[0]
    return Info(
        model_id=model.name,
        model_sha=None,
        model_dtype=model.dtype,
        model_type=ModelType(embedding=Pooling(pooling="sentence-transformers")),
        max_concurrent_requests=MAX_REQUESTS,
        max_input_length=model.max_tokens,
        max_batch_tokens=limits.max_request_tokens,
        max_batch_requests=None,
        max_client_batch_size=limits.max_inputs,
        auto_truncate=False,
        tokenization_workers=1,
        version=version("mtd-ray"),
        sha=None,
        docker_label=None,
    )
