"""The function that answers a turn: a coroutine in the loop, or a plain function on a thread."""

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, TypeAlias

from . import blocking
from .interface import Interface

log = logging.getLogger("thoughtwire")

#: A function that answers a turn. Its result is the turn's last message.
TurnFunction: TypeAlias = (
    Callable[[Interface], Awaitable[str | None]] | Callable[["blocking.Interface"], str | None]
)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a function runs in the event loop, and not on a thread of its own."""
    call = getattr(type(function), "__call__", None)  # noqa: B004, it is not about being callable
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


async def call(function: Callable[..., Any], interface: Interface) -> Any:
    """Calls a turn's function with the kind of interface that it takes."""
    if is_async(function):
        return await function(interface)
    loop = asyncio.get_running_loop()
    return await _call_on_thread(function, blocking.Interface(interface, loop), loop)


async def _call_on_thread(
    function: Callable[..., Any], interface: "blocking.Interface", loop: asyncio.AbstractEventLoop
) -> Any:
    """Calls a function on a thread of its own. A cancelled turn does not wait for the thread."""
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_result((result, error))

    def run() -> None:
        try:
            outcome: tuple[Any, BaseException | None] = (function(interface), None)
        except BaseException as error:
            outcome = (None, error)
        try:
            loop.call_soon_threadsafe(settle, *outcome)
        except RuntimeError:
            log.debug("a turn's thread ended after its loop")

    context = copy_context()
    # Not a pool's thread: a function that hangs must not keep the program from exiting.
    threading.Thread(target=context.run, args=(run,), name="thoughtwire-turn", daemon=True).start()
    result, error = await done
    if error is not None:
        raise error
    return result
