"""Wire formats of OpenAI's embeddings API, and what this server adds to them.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

MAX_INPUTS = 2_048
MAX_REQUEST_TOKENS = 300_000
MAX_BODY_BYTES = 8 * 1024 * 1024

Vectors = np.ndarray[Any, np.dtype[np.float32]]
TokenIds = list[Annotated[StrictInt, Field(ge=0)]]


class ApiError(Exception):
    """A request that cannot be answered, in the form OpenAI's clients understand.

    Attributes:
        status: HTTP status.
        param: the field at fault.
        code: a name that programs can compare.
    """

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code

    @property
    def body(self) -> bytes:
        """The JSON answer."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return orjson.dumps({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})


class EmbeddingsRequest(BaseModel):
    """``POST /v1/embeddings``.

    ``model`` may be left out; ``truncate``, ``normalize`` and ``prompt_name`` are additions to OpenAI's fields:

    - ``truncate``: cut texts longer than the student reads, instead of refusing the request.
    - ``normalize``: scale vectors to length 1. By default they are exactly what the exported folder gives.
    - ``prompt_name``: put this prompt of the exported folder before every text.

    Token ids are ids of the served student's own tokenizer.
    """

    model_config = ConfigDict(extra="forbid")

    input: StrictStr | list[StrictStr] | TokenIds | list[TokenIds]
    model: StrictStr | None = None
    dimensions: StrictInt | None = None
    encoding_format: Literal["float", "base64"] = "float"
    user: StrictStr | None = None
    truncate: StrictBool = False
    normalize: StrictBool = False
    prompt_name: StrictStr | None = None

    @classmethod
    def parse(cls, body: bytes) -> EmbeddingsRequest:
        """Read a request's body.

        Raises:
            ApiError: naming the first field at fault.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise _explain(error) from None

    @property
    def rows(self) -> list[str | list[int]]:
        """One entry per vector asked for: a text, or a text's token ids."""
        if isinstance(self.input, str):
            return [self.input]
        if self.input and isinstance(self.input[0], int):
            return [[token for token in self.input if isinstance(token, int)]]
        return [row for row in self.input if not isinstance(row, int)]


class Embedding(BaseModel):
    """One vector: numbers, or base64 of little-endian float32."""

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


def embeddings_body(vectors: Vectors, *, model: str, tokens: int, encoding: Literal["float", "base64"]) -> bytes:
    """JSON of an :class:`EmbeddingsResponse` for vectors (rows, dim)."""
    rows: Iterable[Any] = vectors
    if encoding == "base64":
        rows = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "data": data, "model": model, "usage": usage}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _explain(error: ValidationError) -> ApiError:
    fault = error.errors(include_url=False)[0]
    if not fault["loc"]:
        return ApiError(f"the body is not a JSON object: {fault['msg']}")
    param = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        known = ", ".join(EmbeddingsRequest.model_fields)
        return ApiError(f"unknown argument {param!r}; known arguments: {known}", param=param, code="unknown_parameter")
    if fault["type"] == "missing":
        return ApiError(f"the argument {param!r} is required", param=param, code="missing_required_parameter")
    if param == "input":
        return ApiError("'input' must be a string, a list of strings, a list of token ids, or a list of such lists", param=param)
    return ApiError(f"{param}: {fault['msg']}", param=param)
