"""The sandbox provider's open connections, so that one can be reset before or amid the answer."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

Address = tuple[str, int]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER for no time: closing sends RST, which clients see as "connection reset"


class Connections:
    """Open connections by the client's address."""

    def __init__(self) -> None:
        self._open: dict[Address, asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """Uvicorn's HTTP protocol, with each connection noted here: what ``uvicorn.Config(http=…)`` takes."""
        opened = self._open

        class Noted(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
            def connection_made(self, transport: Any) -> None:
                self.address: Address = transport.get_extra_info("peername")[:2]
                opened[self.address] = transport
                super().connection_made(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                opened.pop(self.address, None)
                super().connection_lost(exc)

        return Noted

    def reset(self, client: Address) -> None:
        """End the client's connection at once, with a reset. Raises KeyError when there is none."""
        transport = self._open[client]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
