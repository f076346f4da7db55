"""How a synchronous agent speaks in one turn."""

import asyncio
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Literal, TypeVar

from .. import frames
from .. import interface as asynchronous
from ..errors import EndedError
from ..events import ToolStatus
from ..interface import Returned
from .loop import wait

T = TypeVar("T")


class Interface(asynchronous.Told):
    """:class:`thoughtwire.Interface`, whose verbs wait.

    Nothing interrupts a thread: when the turn has ended, :attr:`ended` says so, and the next verb raises
    :class:`~thoughtwire.EndedError`.
    """

    def __init__(self, interface: asynchronous.Interface, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(interface._turn, interface.inputs)
        self._interface = interface
        self._loop = loop
        self._closed = False

    def internal_monologue(self, text: str) -> str:
        """Says a whole thought; gives its item."""
        return self._wait(self._interface.internal_monologue(text))

    def assistant_message(self, text: str) -> str:
        """Says a whole message; gives its item."""
        return self._wait(self._interface.assistant_message(text))

    def function_message(self, text: str) -> None:
        """Says a line as MemGPT's agents give it."""
        self._wait(self._interface.function_message(text))

    def tool_called(self, name: str, args: Mapping[str, Any] | None = None) -> str:
        """Says that a tool is about to run; gives the call's id when that is on disk: it may run then."""
        return self._wait(self._interface.tool_called(name, args))

    def tool_returned(
        self,
        call: str | frames.Waiting,
        text: str,
        *,
        status: ToolStatus = "success",
        content: Any = None,
    ) -> None:
        """Says what a call came back with."""
        self._wait(self._interface.tool_returned(call, text, status=status, content=content))

    def approval(
        self, call: str | frames.Waiting, *, timeout: float | None = None
    ) -> Literal["approved", "denied", "expired"]:
        """Asks the owner's leave for an open call, and waits for the answer."""
        return self._wait(self._interface.approval(call, timeout=timeout))

    def client_runs(self, call: str | frames.Waiting, *, timeout: float | None = None) -> Returned:
        """Has a client run an open call, and waits for the result."""
        return self._wait(self._interface.client_runs(call, timeout=timeout))

    def thought(self) -> "Streamed":
        """A thought that is said in pieces, in a ``with`` block."""
        return Streamed(self, self._interface.thought())

    def message(self) -> "Streamed":
        """A message that is said in pieces, in a ``with`` block."""
        return Streamed(self, self._interface.message())

    def call(self, name: str) -> "Streamed":
        """A call whose arguments, a JSON object, are said in pieces, in a ``with`` block."""
        return Streamed(self, self._interface.call(name))

    def status(self, text: str) -> None:
        """Says what goes on, for people."""
        self._wait(self._interface.status(text))

    def usage(
        self, input_tokens: int, output_tokens: int, cached_tokens: int | None = None
    ) -> None:
        """Says what the turn cost so far."""
        self._wait(self._interface.usage(input_tokens, output_tokens, cached_tokens))

    def close(self) -> None:
        """Waits until everything that was said is acknowledged; nothing can be said here afterwards.

        :raises RefusedError: when something was refused.
        """
        if not self._closed:
            self._wait(self._turn.drained())
            self._closed = True

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            coroutine.close()
            raise EndedError("the interface is closed")
        return wait(coroutine, self._loop)


class Streamed:
    """What is said in pieces; see :class:`thoughtwire.interface.Streamed`."""

    def __init__(self, interface: Interface, streamed: asynchronous.Streamed) -> None:
        self.item = streamed.item
        self._interface = interface
        self._streamed = streamed

    def write(self, text: str) -> None:
        """Says the next piece."""
        self._interface._wait(self._streamed.write(text))

    def end(self) -> None:
        """Says the whole, where there is no ``with`` block."""
        self._interface._wait(self._streamed.end())

    def __enter__(self) -> "Streamed":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._interface._wait(self._streamed.__aexit__(kind, error, trace))
