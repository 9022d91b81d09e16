"""What differs between providers: how a question is written and how its answer is read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, Protocol

import numpy as np
import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from mtd_ray.config import Kind
from mtd_ray.teachers.base import BadAnswer, Vectors


@dataclass(frozen=True)
class ErrorBody:
    """What a provider's error answer says: a sentence, a short code, and the parameter it is about."""

    message: str
    code: str = ""
    parameter: str = ""


class Wire(Protocol):
    """One provider's wire format, for one teacher.

    Attributes:
        path: what is added to ``base_url``.
        parameters: names of request parameters the recipe decides; a refusal that is about one of them is no text's fault.
        truncates: a text that is too long is cut by the provider, not refused.
    """

    path: str
    parameters: frozenset[str]
    truncates: bool

    def task(self, kind: Kind) -> str | None:
        """The provider's task type for a kind of text. A request holds texts of one task."""

    def body(self, texts: Sequence[str], task: str | None) -> bytes:
        """The request."""

    def parse(self, body: bytes) -> Any:
        """An answer's JSON, as :func:`parsed` gives it."""

    def read_vectors(self, reply: Any, rows: int, teacher: str) -> Vectors:
        """Vectors ``(rows, dim)`` of a parsed answer, in the order of the texts. Raises BadAnswer when it is none."""

    def read_usage(self, reply: Any) -> int:
        """The tokens the provider counted, 0 when it does not say."""

    def read_error(self, body: bytes) -> ErrorBody:
        """An error answer; one that is not in the provider's format becomes a message as it stands."""


class _Entry(TypedDict):
    __pydantic_config__ = ConfigDict(val_json_bytes="base64")  # type: ignore[misc]
    index: int
    embedding: bytes


class _Indexed(TypedDict):
    data: list[_Entry]
    usage: NotRequired[Any]


_INDEXED: TypeAdapter[Any] = TypeAdapter(_Indexed)


def parsed(body: bytes, expected: TypeAdapter[Any]) -> Any:
    """An answer's JSON, with base64 decoded already when the answer is the expected one; None when it is no JSON.

    The expected answer is read seven times as fast by pydantic, which decodes on the way, as by a JSON parser and Python's base64.
    """
    try:
        return expected.validate_json(body)
    except ValidationError:
        pass
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def parsed_indexed(body: bytes) -> Any:
    """An answer for :func:`read_indexed`."""
    return parsed(body, _INDEXED)


def read_indexed(reply: Any, rows: int, teacher: str) -> Vectors:
    """Vectors of an answer ``{"data": [{index, embedding}]}``, put in the order of ``index``.

    Raises:
        BadAnswer: it is no such answer, an index is missing or stands twice, or vectors differ in size.
    """
    try:
        by_index = {int(entry["index"]): read_vector(entry["embedding"]) for entry in reply["data"]}
        count = len(reply["data"])
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise not_an_answer(teacher, error) from None
    if count != rows or sorted(by_index) != list(range(rows)):
        raise BadAnswer(
            f"teacher {teacher}: {rows} texts were asked for, the answer has {count} vectors with {len(by_index)} different indices"
        )
    return stacked([by_index[row] for row in range(rows)], teacher)


def stacked(vectors: Sequence[Vectors], teacher: str) -> Vectors:
    """``(rows, dim)`` of single vectors. Raises BadAnswer when they differ in size."""
    sizes = {len(vector) for vector in vectors}
    if len(sizes) != 1:
        raise BadAnswer(f"teacher {teacher}: the vectors of one answer have different sizes: {sorted(sizes)}")
    return np.stack(vectors)


def read_vector(wire: bytes | str | list[float]) -> Vectors:
    """One vector ``(dim,)``: little-endian float32, in base64 or decoded, or plain numbers (null, JSON's NaN, included).

    Raises:
        ValueError, TypeError, binascii.Error: it is neither.
    """
    if isinstance(wire, str):
        wire = base64.b64decode(wire, validate=True)
    if isinstance(wire, bytes):
        return np.frombuffer(wire, dtype="<f4").astype(np.float32, copy=False)
    numbers = np.array(wire, dtype=np.float32)
    if numbers.ndim != 1:
        raise ValueError("an embedding is a list of numbers")
    return numbers


def read_count(reply: Any, *path: str) -> int:
    """A count that lies at a path of keys in an answer; 0 when it does not, or is no count."""
    try:
        for key in path:
            reply = reply[key]
        return max(0, int(reply))
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0


def read_message(body: bytes, key: str) -> ErrorBody:
    """An error body whose only content is a text under ``key``; anything else becomes a message as it stands."""
    try:
        return ErrorBody(str(orjson.loads(body)[key]))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ErrorBody(body[:1000].decode(errors="replace"))


def not_an_answer(teacher: str, error: Exception) -> BadAnswer:
    """What to raise when an answer lacks what it must have."""
    return BadAnswer(f"teacher {teacher}: the answer is not an embeddings answer ({type(error).__name__}: {error})")
