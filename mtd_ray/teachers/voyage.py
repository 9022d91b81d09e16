"""Voyage AI's embeddings wire format.

Source: https://docs.voyageai.com/reference/embeddings-api
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from mtd_ray.config import Kind, VoyageTeacher
from mtd_ray.teachers.base import Vectors
from mtd_ray.teachers.wire import ErrorBody, parsed_indexed, read_count, read_indexed, read_message


class VoyageWire:
    """``POST {base_url}/embeddings``."""

    path = "/embeddings"
    parameters: frozenset[str] = frozenset()  # Voyage's errors are one sentence and name no parameter

    def __init__(self, config: VoyageTeacher) -> None:
        self._input_types = config.input_types
        self.truncates = config.truncation
        self._fixed: dict[str, Any] = {"model": config.model, "truncation": config.truncation, "encoding_format": "base64"}
        if config.send_dimensions:
            self._fixed["output_dimension"] = config.dimensions

    def task(self, kind: Kind) -> str | None:
        return self._input_types.get(kind)

    def body(self, texts: Sequence[str], task: str | None) -> bytes:
        return orjson.dumps(self._fixed | {"input": list(texts), "input_type": task})

    def parse(self, body: bytes) -> Any:
        return parsed_indexed(body)

    def read_vectors(self, reply: Any, rows: int, teacher: str) -> Vectors:
        return read_indexed(reply, rows, teacher)

    def read_usage(self, reply: Any) -> int:
        return read_count(reply, "usage", "total_tokens")

    def read_error(self, body: bytes) -> ErrorBody:
        """Voyage's ``{"detail"}``."""
        return read_message(body, "detail")
