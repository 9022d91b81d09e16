"""Reading what a client sends, as little of it as a limit allows, and noticing when the client hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive, Scope, Send

from serve.engine.limits import Limits
from serve.wire.faults import ApiError

Result = TypeVar("Result")
Headers = list[tuple[bytes, bytes]]

# Most answers come sooner, and need no watching.
_UNWATCHED_S = 0.02
_JSON = (b"content-type", b"application/json")


class ClientGone(Exception):  # noqa: N818 (nothing went wrong)
    """Nobody waits for the answer any more."""


def announced(scope: Scope) -> int:
    """Bytes of the body by the request's head; 0 when it does not say, or says nonsense that the HTTP server let pass."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and len(value) < 19:
            return int(value)
    return 0


class Uploads:
    """Bodies that are being read: each of bounded length and time, and all of them in bounded memory.

    Args:
        limits: of the service.
        at_once: so many of the longest bodies may be in memory; of shorter ones more.
    """

    def __init__(self, limits: Limits, *, at_once: int = 32) -> None:
        self._longest = limits.max_body_bytes
        self._timeout_s = limits.deadline_s
        self._room = at_once * limits.max_body_bytes

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The body of a request.

        Raises:
            ApiError: (413) it is too long; what was announced as too long is not read at all. (429) too much is being read.
                (408) it did not arrive before the deadline.
            ClientGone: the client hung up.
        """
        share = _Share(self, announced(scope))
        try:
            async with asyncio.timeout(self._timeout_s):
                return await share.read(receive)
        except TimeoutError:
            raise ApiError(f"the body did not arrive within {self._timeout_s:g} s", status=408, code="timeout") from None
        finally:
            self._room += share.taken

    def take(self, length: int, more: int) -> None:
        """Let a body be ``length`` bytes long, ``more`` than it was let before."""
        if length > self._longest:
            raise ApiError(
                f"the body is longer than {self._longest} bytes; send fewer texts at once", status=413, code="body_too_long"
            )
        if more > self._room:
            raise ApiError(
                "too many long requests are being read; ask again in a second",
                status=429,
                code="rate_limit_exceeded",
                retry_after_s=1.0,
            )
        self._room -= more


async def while_connected(work: Coroutine[Any, Any, Result], receive: Receive) -> Result:
    """What ``work`` gives; it is cancelled when the client hangs up. The body has to be read by then.

    Raises:
        ClientGone: the client hung up.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 (in a coroutine)
    watch = _Watch(task, receive)
    starting = task.get_loop().call_later(_UNWATCHED_S, watch.start)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.gone and task.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        starting.cancel()
        watch.stop()


async def send_json(send: Send, body: bytes, status: int = 200, headers: Headers | None = None) -> None:
    """Answer with JSON."""
    head = [_JSON, (b"content-length", b"%d" % len(body)), *(headers or ())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


class _Watch:
    """Cancels a task when its client hangs up."""

    def __init__(self, task: asyncio.Task[Any], receive: Receive) -> None:
        self.gone = False
        self._task = task
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._watching = self._task.get_loop().create_task(self._watch())

    def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._task.cancel()


class _Share:
    """The memory of one body."""

    def __init__(self, uploads: Uploads, length: int) -> None:
        self.taken = 0
        self._uploads = uploads
        self._length = length

    async def read(self, receive: Receive) -> bytes:
        self._grow(self._length)
        pieces: list[bytes] = []
        read, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            pieces.append(message.get("body", b""))
            read += len(pieces[-1])
            self._grow(read)
            more = message.get("more_body", False)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _grow(self, length: int) -> None:
        if length > self.taken:
            self._uploads.take(length, length - self.taken)
            self.taken = length
