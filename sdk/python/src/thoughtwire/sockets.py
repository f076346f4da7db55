"""A WebSocket to the server, with any `websockets` from 12 on.

`pymemgpt` pins a version below 13, in which `websockets.asyncio` does not exist; its older client takes
other argument names, and has its own exception for a refused upgrade.
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

#: From 15 on a proxy of the environment is used, unless told.
_HAS_PROXY = "proxy" in inspect.signature(connect).parameters


class Socket(Protocol):
    """What is used of a connection."""

    async def send(self, message: str, /) -> None:
        """Sends a text frame."""

    async def recv(self) -> str | bytes:
        """The next frame."""

    async def ping(self) -> Awaitable[object]:
        """Sends a ping; gives what resolves with its pong."""

    async def close(self) -> None:
        """Closes it."""


@asynccontextmanager
async def opened(
    address: Address, *, within: float, ask_every: float, dead_after: float
) -> AsyncIterator[Socket]:
    """A connection that stands, closed behind the block. Times are in seconds."""
    options: dict[str, Any] = {_HEADERS: address.headers}
    if _HAS_PROXY:
        options["proxy"] = None if address.is_here else True
    async with connect(
        address.wire,
        subprotocols=[Subprotocol("thoughtwire.v1")],
        open_timeout=within,
        ping_interval=ask_every,
        ping_timeout=dead_after,
        close_timeout=1.0,
        # A log may hold what is larger than any frame that the server takes.
        max_size=None,
        **options,
    ) as socket:
        yield socket


def status_of(refused: Exception) -> tuple[int, str]:
    """The status of a refused upgrade, and the body of the answer, which the older client drops."""
    response = getattr(refused, "response", None)
    if response is None:
        return int(getattr(refused, "status_code", 0)), ""
    return int(response.status_code), (response.body or b"").decode(errors="replace")
