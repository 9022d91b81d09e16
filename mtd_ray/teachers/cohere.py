"""Cohere's embed wire format, version 2.

Source: https://docs.cohere.com/reference/embed
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Any, NotRequired

import orjson
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from mtd_ray.config import CohereTeacher, Kind
from mtd_ray.teachers.base import BadAnswer, Vectors
from mtd_ray.teachers.wire import ErrorBody, not_an_answer, parsed, read_count, read_message, read_vector, stacked


class _Embeddings(TypedDict):
    __pydantic_config__ = ConfigDict(val_json_bytes="base64")  # type: ignore[misc]
    base64: list[bytes]


class _Reply(TypedDict):
    embeddings: _Embeddings
    meta: NotRequired[Any]


_REPLY: TypeAdapter[Any] = TypeAdapter(_Reply)


class CohereWire:
    """``POST {base_url}/v2/embed``. Vectors come in the order of the texts, without an index."""

    path = "/v2/embed"
    parameters: frozenset[str] = frozenset()  # Cohere's errors are one sentence and name no parameter

    def __init__(self, config: CohereTeacher) -> None:
        self._input_types = config.input_types
        self.truncates = config.truncate != "NONE"
        self._fixed: dict[str, Any] = {"model": config.model, "embedding_types": ["base64"], "truncate": config.truncate}
        if config.send_dimensions:
            self._fixed["output_dimension"] = config.dimensions

    def task(self, kind: Kind) -> str:
        return self._input_types[kind]

    def body(self, texts: Sequence[str], task: str | None) -> bytes:
        return orjson.dumps(self._fixed | {"texts": list(texts), "input_type": task})

    def parse(self, body: bytes) -> Any:
        return parsed(body, _REPLY)

    def read_vectors(self, reply: Any, rows: int, teacher: str) -> Vectors:
        try:
            embeddings = reply["embeddings"]
            vectors = [read_vector(wire) for wire in (embeddings.get("base64") or embeddings["float"])]
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
            raise not_an_answer(teacher, error) from None
        if len(vectors) != rows:
            raise BadAnswer(f"teacher {teacher}: {rows} texts were asked for, the answer has {len(vectors)} vectors")
        return stacked(vectors, teacher)

    def read_usage(self, reply: Any) -> int:
        return read_count(reply, "meta", "billed_units", "input_tokens")

    def read_error(self, body: bytes) -> ErrorBody:
        """Cohere's ``{"message"}``."""
        return read_message(body, "message")
