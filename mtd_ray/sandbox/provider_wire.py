"""What the sandbox provider's wire formats have in common; each format is a module that fits :class:`WireFormat`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from mtd_ray.sandbox.provider_quota import Verdict

Encoding = Literal["float", "base64"]
OverLong = Literal["refuse", "keep_start", "keep_end"]


class RefusedError(Exception):
    """A request that is answered with an error; ``code`` and ``param`` are shown by OpenAI's format only."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str = "invalid_request_error",
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.headers = status, code, param, headers or {}


@dataclass(frozen=True)
class Question:
    """A request, whatever format it came in. ``size`` None means all of the model's numbers."""

    model: str
    texts: list[str]
    size: int | None
    encodings: tuple[Encoding, ...]
    over_long: OverLong = "refuse"


@dataclass(frozen=True)
class Reading:
    """What the model reads and the account pays for: the texts, cut where the request allows it, and the tokens of each."""

    texts: list[str]
    tokens: list[int]


@dataclass(frozen=True)
class Answer:
    """Vectors ``(texts, dim)`` with their indices (a fault can make them wrong), and the tokens billed."""

    vectors: NDArray[np.float32]
    indices: list[int] = field(default_factory=list)
    tokens: int = 0


class WireFormat(Protocol):
    """One provider's request and answer bodies, caps, error bodies and rate headers."""

    def parse(self, body: bytes) -> Question:
        """The question of a request body. Raises RefusedError."""

    def read(self, question: Question) -> Reading:
        """Apply the caps. Raises RefusedError."""

    def render(self, question: Question, answer: Answer) -> bytes:
        """The body of an answer."""

    def render_error(self, error: RefusedError) -> bytes:
        """The body of an error."""

    def rate_headers(self, verdict: Verdict) -> dict[str, str]:
        """What the provider says about its quota."""


class Body(BaseModel):
    """Base of request bodies."""

    model_config = ConfigDict(strict=True)


B = TypeVar("B", bound=Body)


def validated(kind: type[B], body: bytes) -> B:
    """The request body; pydantic's own message becomes the error's."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors()[0]
        param = str(fault["loc"][0] if fault["loc"] else "")
        raise RefusedError(400, f"{param}: {fault['msg']}", param=param) from None


def encoded(vectors: NDArray[np.float32], encoding: Encoding) -> Sequence[str | list[float]]:
    """Each vector as numbers, or as base64 of little-endian float32."""
    if encoding == "base64":
        return [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
    return [[float(x) for x in vector] for vector in vectors]
