"""A WebSocket to the server, with any version of `websockets` from 12 on.

`pymemgpt` pins a version below 13, which lacks `websockets.asyncio`. The older client of that
version has other argument names, and an exception of its own for a refused upgrade.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Protocol

from websockets import exceptions
from websockets.typing import Subprotocol

from .address import Address

try:
    _newer: Any = import_module("websockets.asyncio.client")
except ImportError:
    _newer = None
if _newer is not None:
    connect: Any = _newer.connect
    NotUpgraded: type[Exception] = exceptions.InvalidStatus
    _HEADERS = "additional_headers"
else:
    connect = import_module("websockets.client").connect
    NotUpgraded = vars(exceptions)["InvalidStatusCode"]
    _HEADERS = "extra_headers"

#: Version 15 and newer use the environment's proxy by default.
_HAS_PROXY = "proxy" in inspect.signature(connect).parameters


class Socket(Protocol):
    """The parts of a connection that this package uses."""

    async def send(self, message: str, /) -> None:
        """Sends a text frame."""

    async def recv(self) -> str | bytes:
        """Receives the next frame."""

    async def ping(self) -> Awaitable[object]:
        """Sends a ping. Returns an awaitable for its pong."""

    async def close(self) -> None:
        """Closes the connection."""


@asynccontextmanager
async def opened(
    address: Address, *, connect_timeout: float, ping_interval: float, pong_timeout: float
) -> AsyncIterator[Socket]:
    """Opens a connection, and closes it after the block. Times are in seconds."""
    options: dict[str, Any] = {_HEADERS: address.headers}
    if _HAS_PROXY:
        options["proxy"] = None if address.is_local else True
    async with connect(
        address.wire,
        subprotocols=[Subprotocol("thoughtwire.v1")],
        open_timeout=connect_timeout,
        ping_interval=ping_interval,
        ping_timeout=pong_timeout,
        close_timeout=1.0,
        # Events in a log may be larger than any frame that the server takes.
        max_size=None,
        **options,
    ) as socket:
        yield socket


def status_of(refused: Exception) -> tuple[int, str]:
    """Returns the status and the body of a refused upgrade. The older client drops the body."""
    response = getattr(refused, "response", None)
    if response is None:
        return int(getattr(refused, "status_code", 0)), ""
    return int(response.status_code), (response.body or b"").decode(errors="replace")
