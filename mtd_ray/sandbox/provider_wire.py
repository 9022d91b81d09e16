"""What the sandbox provider's wire formats have in common; each format is a module that fits :class:`WireFormat`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from mtd_ray.sandbox.provider_quota import Verdict

Encoding = Literal["float", "base64"]
OverLong = Literal["refuse", "keep_start", "keep_end"]

_MISSING = 5  # characters: what remains is no whole number of bytes


class RefusedError(Exception):
    """A request that is answered with an error; ``code``, ``param`` and ``kind`` (its "type") are shown by OpenAI's format only."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = "invalid_request_error",
        *,
        kind: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.kind, self.param, self.headers = status, code, kind, param, headers or {}


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
    """Vectors ``(texts, dim)`` and their indices, which a fault can make wrong, and the tokens billed.

    ``as_numbers``: send lists of numbers whatever was asked for. ``truncated``: rows whose end is missing on the wire.
    """

    vectors: NDArray[np.float32]
    indices: list[int]
    tokens: int
    as_numbers: bool = False
    truncated: Sequence[int] = ()

    def encoded(self, encoding: Encoding) -> list[str] | list[list[float]]:
        """Each vector as numbers, or as base64 of little-endian float32."""
        vectors = np.ascontiguousarray(self.vectors, dtype="<f4")
        if encoding == "float" or self.as_numbers:
            numbers: list[list[float]] = vectors.tolist()
            return [row[:-1] if at in self.truncated else row for at, row in enumerate(numbers)]
        texts = [base64.b64encode(vector).decode() for vector in vectors]
        return [text[:-_MISSING] if at in self.truncated else text for at, text in enumerate(texts)]


class WireFormat(Protocol):
    """One provider's request and answer bodies, caps, error bodies and rate headers; ``PROVIDER`` is its name in the catalogue."""

    PROVIDER: str

    def parse(self, body: bytes) -> Question:
        """The question of a request body. Raises RefusedError."""

    def read(self, question: Question) -> Reading:
        """Apply the caps. Raises RefusedError."""

    def render(self, question: Question, answer: Answer) -> bytes:
        """The body of an answer."""

    def saying(self, status: int, code: str | None = None) -> RefusedError:
        """What the provider says with an error of this status, and of this code where it has several."""

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
