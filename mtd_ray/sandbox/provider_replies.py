"""How the sandbox provider's answers leave it: whole, slowly, or not to the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.responses import Response, StreamingResponse

from mtd_ray.sandbox.provider_faults import Fault
from mtd_ray.sandbox.provider_wire import RefusedError, WireFormat

_PIECES = 20
_GATEWAY = {502: "Bad Gateway", 504: "Gateway Time-out"}


def reply(body: bytes, fault: Fault | None, headers: dict[str, str], reset: Callable[[], None]) -> Response:
    """The answer, as the faults ``cut`` and ``slow`` have it. ``reset`` resets the client's connection."""
    if fault is None or fault.kind not in ("cut", "slow"):
        return Response(body, media_type="application/json", headers=headers)
    headers = headers | {"content-length": str(len(body)), "content-type": "application/json"}
    pieces = _half(body, reset if fault.by_reset else None) if fault.kind == "cut" else _trickle(body, fault.seconds)
    return StreamingResponse(pieces, headers=headers)


def refusal(wire: WireFormat, error: RefusedError) -> Response:
    """The answer to a refused request. 502 and 504 come from what stands before a provider, which answers in HTML."""
    if error.status in _GATEWAY:
        title = f"{error.status} {_GATEWAY[error.status]}"
        page = f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>"
        return Response(page, error.status, error.headers, "text/html")
    return Response(wire.render_error(error), error.status, error.headers, "application/json")


async def _half(body: bytes, reset: Callable[[], None] | None) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    if reset is not None:
        reset()
    raise ConnectionResetError("sandbox fault: the connection ends in the middle of the answer")


async def _trickle(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    size = -(-len(body) // _PIECES)
    for start in range(0, len(body), size):
        yield body[start : start + size]
        await asyncio.sleep(seconds / _PIECES)
