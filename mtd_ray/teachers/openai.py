"""OpenAI's embeddings wire format, spoken by OpenAI and many other servers.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from mtd_ray.config import Kind, OpenAITeacher
from mtd_ray.teachers.base import Vectors
from mtd_ray.teachers.wire import ErrorBody, parsed_indexed, read_count, read_indexed, read_message


class OpenAIWire:
    """``POST {base_url}/embeddings``. A server that ignores the wish for base64 and sends numbers is understood too."""

    path = "/embeddings"
    parameters = frozenset({"model", "dimensions", "encoding_format"})
    truncates = False

    def __init__(self, config: OpenAITeacher) -> None:
        self._fixed: dict[str, Any] = {"model": config.model, "encoding_format": "base64"}
        if config.send_dimensions:
            self._fixed["dimensions"] = config.dimensions

    def task(self, kind: Kind) -> None:
        """None: OpenAI knows no tasks."""

    def body(self, texts: Sequence[str], task: str | None) -> bytes:
        return orjson.dumps(self._fixed | {"input": list(texts)})

    def parse(self, body: bytes) -> Any:
        return parsed_indexed(body)

    def read_vectors(self, reply: Any, rows: int, teacher: str) -> Vectors:
        return read_indexed(reply, rows, teacher)

    def read_usage(self, reply: Any) -> int:
        return read_count(reply, "usage", "prompt_tokens")

    def read_error(self, body: bytes) -> ErrorBody:
        """OpenAI's ``{"error": {message, type, param, code}}``."""
        try:
            error = orjson.loads(body)["error"]
            code = error.get("code") or error.get("type") or ""
            return ErrorBody(str(error.get("message") or ""), str(code), str(error.get("param") or ""))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return read_message(body, "message")
