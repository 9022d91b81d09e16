"""What the routes that embed have in common. They are the busy ones: plain ASGI, nothing between the server and the engine."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Generic
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from serve.api.bodies import ClientGone, Uploads, announced, send_json, while_connected
from serve.api.keys import Keys
from serve.engine.engine import Engine
from serve.engine.question import Answer, Question
from serve.wire.faults import ApiError
from serve.wire.fields import Asked, read

_LOG = logging.getLogger(__name__)
# Which student answered, ``NAME`` or ``NAME@VERSION``, percent-encoded: text-embeddings-inference's answers have no room for it in
# their body.
_MODEL_HEADER = b"x-model"
# A thread is woken in the time in which so many vectors are written; more would keep other requests waiting.
_INLINE_VECTORS = 32
# As for vectors: reading JSON of so many bytes takes about a millisecond.
_INLINE_BYTES = 256 * 1024


class Endpoint(ABC, Generic[Asked]):
    """A route that answers texts with vectors.

    Refused before the body is read: who has no key, and whoever comes when the queue is full.
    """

    form: type[Asked]

    def __init__(self, engine: Engine, keys: Keys | None, uploads: Uploads) -> None:
        self._engine = engine
        self._keys = keys
        self._uploads = uploads

    @abstractmethod
    def question(self, asked: Asked, owner: str) -> Question:
        """What the engine is to answer; ``owner`` names the key that was used."""

    @abstractmethod
    def body(self, answer: Answer, asked: Asked) -> bytes:
        """The answer as JSON."""

    @abstractmethod
    def refusal(self, fault: ApiError) -> tuple[bytes, int]:
        """A fault as JSON, and its HTTP status."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body, model = await self._answer(scope, receive)
        except ApiError as fault:
            refusal, status = self.refusal(fault)
            await send_json(send, refusal, status, fault.headers)
        except ClientGone:
            return
        except Exception:
            self._engine.metrics.refused(500)
            _LOG.exception("%s failed", scope["path"])
            await send_json(send, *self.refusal(failed()))
        else:
            await send_json(send, body, headers=[(_MODEL_HEADER, quote(model, safe="/@").encode())])

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[bytes, str]:
        """The answer, and which student gave it."""
        began = perf_counter()
        with self._counted():
            owner = self._keys.owner(scope["headers"]) if self._keys is not None else ""
        self._engine.admit(announced(scope), owner)
        with self._counted():
            body = await self._uploads.read(scope, receive)
            inline = len(body) <= _INLINE_BYTES
            asked = read(self.form, body) if inline else await asyncio.to_thread(read, self.form, body)
            question = self.question(asked, owner)
        answer = await while_connected(self._engine.answer(question, began=began), receive)
        if len(answer.vectors) <= _INLINE_VECTORS:
            return self.body(answer, asked), answer.model
        return await asyncio.to_thread(self.body, answer, asked), answer.model

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """The engine counts what it refuses; this counts what never gets there."""
        try:
            yield
        except ApiError as fault:
            self._engine.metrics.refused(fault.status)
            raise


def failed() -> ApiError:
    """A fault of the server's own, of which clients learn no more than that."""
    return ApiError("the server failed to answer; its log says why", status=500, code="internal_error")
