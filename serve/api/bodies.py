"""Reading what a client sends, as little of it as a limit allows, and noticing when the client hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive, Scope, Send

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


async def read_body(scope: Scope, receive: Receive, *, limit: int, timeout_s: float) -> bytes:
    """The body, of at most ``limit`` bytes.

    Raises:
        ApiError: (413) it is longer; what was announced as longer is not read at all. (408) it did not arrive within ``timeout_s``.
        ClientGone: the client hung up.
    """
    if announced(scope) > limit:
        raise _too_long(limit)
    pieces: list[bytes] = []
    read, more = 0, True
    try:
        async with asyncio.timeout(timeout_s):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                pieces.append(message.get("body", b""))
                read += len(pieces[-1])
                if read > limit:
                    raise _too_long(limit)
                more = message.get("more_body", False)
    except TimeoutError:
        raise ApiError(f"the body did not arrive within {timeout_s:g} s", status=408, code="timeout") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


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


def _too_long(limit: int) -> ApiError:
    return ApiError(f"the body is longer than {limit} bytes; send fewer texts at once", status=413, code="body_too_long")
