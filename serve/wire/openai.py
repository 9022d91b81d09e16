"""OpenAI's embeddings API, and what this server adds to it.

Sources: https://platform.openai.com/docs/api-reference/embeddings; for ``input_type`` and ``output_dtype``
https://docs.voyageai.com/reference/embeddings-api
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from serve.wire.fields import Rows
from serve.wire.vectors import Dtype, Vector, as_base64, as_dtype, as_json

_AS_BASE64 = b'"%b"'


class EmbeddingsRequest(BaseModel):
    """``POST /v1/embeddings``. What is null or left out has its default.

    Token ids are ids of the served model's own tokenizer. Of OpenAI's fields only ``input`` is required; these are additions:

    - ``input_type``: ``query`` or ``document`` puts the model's prompt of that name before every text.
    - ``prompt_name``: puts this prompt of the model before every text.
    - ``truncate``: cuts texts that are longer than the model reads, instead of refusing the request.
    - ``normalize``: scales vectors to length 1. By default they are exactly what the exported folder gives.
    - ``output_dtype``: numbers of a smaller type, see :mod:`serve.wire.vectors`.
    """

    model_config = ConfigDict(extra="forbid")

    input: Rows
    model: StrictStr | None = Field(None, description="Name of a served model; may be left out where there is one.")
    dimensions: StrictInt | None = Field(None, description="Size of the vectors, one that the model has; see /v1/models.")
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="float (the default): a list of numbers; base64: their bytes, little-endian."
    )
    user: StrictStr | None = Field(
        None, description="Whom the request is made for. Without keys users share the server fairly; with keys these do."
    )
    input_type: Literal["query", "document"] | None = Field(None, description="Puts the model's prompt for such texts before them.")
    prompt_name: StrictStr | None = Field(None, description="Puts this prompt of the model before every text; see /v1/models.")
    truncate: StrictBool | None = Field(None, description="Cut texts that are too long; by default the request is refused.")
    normalize: StrictBool | None = Field(None, description="Scale vectors to length 1; by default as the model gives them.")
    output_dtype: Dtype | None = Field(
        None,
        description="float (the default); int8 and uint8: each vector's largest number is ±127 (uint8: + 128); "
        "ubinary: the signs, eight in a byte; binary: ubinary − 128.",
    )


class Embedding(BaseModel):
    """One vector: numbers, or base64 of their bytes."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens read by the model, prompts and special tokens included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """Answer to :class:`EmbeddingsRequest`, vectors in the order of the inputs."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class Model(BaseModel):
    """A model: OpenAI's fields, and what may be asked of it."""

    id: str
    object: Literal["model"]
    created: int = Field(description="Seconds since 1970.")
    owned_by: str
    dimensions: list[int] = Field(description="Sizes of its vectors.")
    any_dimensions: bool = Field(description="Whether any smaller size may be asked for as well.")
    default_dimensions: int
    max_tokens: int = Field(description="The longest text, in tokens, prompt and special tokens included.")
    prompts: list[str]


class ModelList(BaseModel):
    """``GET /v1/models``."""

    object: Literal["list"]
    data: list[Model]


class Fault(BaseModel):
    """What was wrong with a request."""

    message: str
    type: str
    param: str | None
    code: str | None


class FaultResponse(BaseModel):
    """Answer to a request that was refused or failed."""

    error: Fault


def embeddings_body(vectors: Sequence[Vector], *, model: str, tokens: int, encoding: str | None, dtype: Dtype | None) -> bytes:
    """JSON of an :class:`EmbeddingsResponse` for vectors, each (size,)."""
    codes = (as_dtype(vector, dtype or "float") for vector in vectors)
    # Vector by vector, as orjson lets no other thread run meanwhile.
    rows = [
        b'{"object":"embedding","index":%d,"embedding":%b}'
        % (index, _AS_BASE64 % as_base64(row) if encoding == "base64" else as_json(row))
        for index, row in enumerate(codes)
    ]
    return b'{"object":"list","data":[%b],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d}}' % (
        b",".join(rows),
        orjson.dumps(model),
        tokens,
        tokens,
    )
