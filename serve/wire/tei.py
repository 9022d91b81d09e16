"""The embedding routes of text-embeddings-inference.

Source: https://huggingface.github.io/text-embeddings-inference
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, StrictBool, StrictInt, StrictStr

from serve.wire.fields import Rows
from serve.wire.vectors import Vector, as_dtype, as_json


class EmbedRequest(BaseModel):
    """``POST /embed``. What is null or left out has its default; token ids are ids of the served model's own tokenizer."""

    model_config = ConfigDict(extra="forbid")

    inputs: Rows
    truncate: StrictBool | None = Field(None, description="Cut texts that are too long; by default the request is refused.")
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = Field(
        None, description="Which end is cut off; only right, the default, is offered."
    )
    prompt_name: StrictStr | None = Field(None, description="Puts this prompt of the model before every text; see /v1/models.")
    normalize: StrictBool | None = Field(None, description="Scale vectors to length 1: the default.")
    dimensions: StrictInt | None = Field(None, description="Size of the vectors, one that the model has; see /v1/models.")


class EmbedResponse(RootModel[list[list[float]]]):
    """Vectors in the order of the inputs."""


class Pooling(BaseModel):
    """How a text's vector is made of its tokens'."""

    pooling: str


class ModelType(BaseModel):
    """What the model is for."""

    embedding: Pooling


class Info(BaseModel):
    """``GET /info``: the default model and the limits."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    model_type: ModelType
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None


class ErrorResponse(BaseModel):
    """Answer to a request that was refused or failed."""

    error: str
    error_type: Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"]


def embed_body(vectors: Sequence[Vector]) -> bytes:
    """JSON of an :class:`EmbedResponse` for vectors, each (size,)."""
    return b"[%b]" % b",".join(as_json(as_dtype(vector, "float")) for vector in vectors)
