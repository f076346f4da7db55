"""The interface whose verbs block, for turns on threads."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Literal, TypeVar

from .. import call_once, checks, frames
from .. import interface as asynchronous
from ..errors import EndedError
from ..events import ToolStatus
from ..interface import Returned
from .loop import wait

T = TypeVar("T")


class BlockingInterface(asynchronous.TurnContext):
    """Wraps :class:`thoughtwire.Interface`, with verbs that block.

    A thread cannot be cancelled. When the turn has ended, :attr:`ended` is true, and the next verb
    raises :class:`~thoughtwire.EndedError`.
    """

    def __init__(self, interface: asynchronous.Interface, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(interface._turn, interface.inputs)
        self._interface = interface
        self._loop = loop
        self._closed = False

    def internal_monologue(self, text: str, *, continues: str | None = None) -> str:
        """Sends a whole thought. Returns its item's id."""
        return self._wait(self._interface.internal_monologue(text, continues=continues))

    def assistant_message(self, text: str, *, continues: str | None = None) -> str:
        """Sends a whole message. Returns its item's id."""
        return self._wait(self._interface.assistant_message(text, continues=continues))

    def function_message(self, text: str) -> None:
        """Sends a function message as MemGPT's agents do."""
        self._wait(self._interface.function_message(text))

    def tool_called(self, name: str, args: Mapping[str, Any] | None = None) -> str:
        """Announces a call. Returns its id when the call is on disk; now the tool may run."""
        return self._wait(self._interface.tool_called(name, args))

    def tool_returned(
        self,
        call: str | frames.Waiting,
        text: str,
        *,
        status: ToolStatus = "success",
        content: Any = None,
    ) -> None:
        """Sends the result of a call."""
        self._wait(self._interface.tool_returned(call, text, status=status, content=content))

    def call_once(
        self,
        name: str,
        args: Mapping[str, Any] | None,
        fn: Callable[[str], Any],
        replay: frames.Replay | None = None,
    ) -> Any:
        """Makes a call whose result a later run of the turn gets without making it again.

        `fn` runs on this thread. See :meth:`thoughtwire.Interface.call_once`.
        """
        name, args = checks.non_empty(name, "a tool's name"), checks.arguments(args)
        begun = self._wait(call_once.begin(self._turn, name, args, replay))
        if isinstance(begun, call_once.Done):
            return begun.result
        try:
            result = fn(begun.call)
        except Exception as error:
            self._wait(call_once.failed(self._turn, begun.call, error))
            raise
        return self._wait(call_once.returned(self._turn, begun.call, result))

    def approval(
        self, call: str | frames.Waiting, *, timeout: float | None = None
    ) -> Literal["approved", "denied", "expired"]:
        """Asks the owner to approve an open call, and waits for the decision."""
        return self._wait(self._interface.approval(call, timeout=timeout))

    def client_runs(self, call: str | frames.Waiting, *, timeout: float | None = None) -> Returned:
        """Lets a client run an open call, and waits for the result."""
        return self._wait(self._interface.client_runs(call, timeout=timeout))

    def thought(self, *, continues: str | None = None) -> "BlockingStreamedItem":
        """Streams a thought in pieces, in a ``with`` block."""
        return BlockingStreamedItem(self, self._interface.thought(continues=continues))

    def message(self, *, continues: str | None = None) -> "BlockingStreamedItem":
        """Streams a message in pieces, in a ``with`` block."""
        return BlockingStreamedItem(self, self._interface.message(continues=continues))

    def call(self, name: str) -> "BlockingStreamedItem":
        """Streams the arguments of a call, a JSON object, in pieces, in a ``with`` block."""
        return BlockingStreamedItem(self, self._interface.call(name))

    def status(self, text: str) -> None:
        """Sends a progress note for people. It is not stored."""
        self._wait(self._interface.status(text))

    def usage(
        self, input_tokens: int, output_tokens: int, cached_tokens: int | None = None
    ) -> None:
        """Sends the turn's cost so far. The last one counts."""
        self._wait(self._interface.usage(input_tokens, output_tokens, cached_tokens))

    def close(self) -> None:
        """Waits until every verb is acknowledged, and closes the interface.

        :raises RefusedError: when a verb was refused.
        """
        if not self._closed:
            self._wait(self._turn.drained())
            self._closed = True

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            coroutine.close()
            raise EndedError("the interface is closed")
        return wait(coroutine, self._loop)


class BlockingStreamedItem:
    """Wraps an item that is sent in pieces; see :class:`thoughtwire.interface.StreamedItem`."""

    def __init__(self, interface: BlockingInterface, streamed: asynchronous.StreamedItem) -> None:
        self.item = streamed.item
        self._interface = interface
        self._streamed = streamed

    def write(self, text: str) -> None:
        """Sends the next piece."""
        self._interface._wait(self._streamed.write(text))

    def end(self) -> None:
        """Completes the item, without a ``with`` block."""
        self._interface._wait(self._streamed.end())

    def __enter__(self) -> "BlockingStreamedItem":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._interface._wait(self._streamed.__aexit__(kind, error, trace))
