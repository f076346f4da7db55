"""Interfaces for MemGPT's own agent.

An agent of `pymemgpt` 0.2 or 0.3 takes one of these as its `interface`, in place of MemGPT's own
WebSocket server. The interface sends the agent's thoughts, calls and messages in the turn that it
is bound to. It outlives turns, as the agent does. Without a turn it sends only to registered
clients.

>>> interface = SyncInterface()
>>> agent = thoughtwire.Agent("sam")  # doctest: +SKIP
>>> sam = use_preset(..., interface=interface)  # doctest: +SKIP
>>> @agent.turn  # doctest: +SKIP
... def answer(turn):
...     with interface.speaks_in(turn):
...         sam.step(package_user_message(turn.user_message))

`memgpt` is not imported, since its agent calls the methods by name.
"""

import ast
import asyncio
import inspect
import json
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, Protocol, TypeVar

from .. import blocking, interface
from . import protocol

TurnInterface = TypeVar("TurnInterface", interface.Interface, blocking.Interface)


class TextClient(Protocol):
    """A client as in 0.3, such as a WebSocket of Starlette and FastAPI."""

    def send_text(self, frame: str, /) -> Awaitable[object] | object:
        """Sends one frame."""


class RegisteredClient(Protocol):
    """A receiver of MemGPT's frames, such as a WebSocket."""

    def send(self, frame: str, /) -> Awaitable[object] | object:
        """Sends one frame."""


class _Interface(Generic[TurnInterface]):
    """The turn and the registered clients, which both interfaces have."""

    def __init__(self) -> None:
        self.clients: set[RegisteredClient | TextClient] = set()
        # A context variable, since turns on other threads and tasks have their own.
        self._turn: ContextVar[TurnInterface | None] = ContextVar("turn", default=None)

    @contextmanager
    def speaks_in(self, turn: TurnInterface) -> Iterator[None]:
        """Sends what MemGPT's agent says during the block in this turn."""
        token = self._turn.set(turn)
        try:
            yield
        finally:
            self._turn.reset(token)

    def register_client(self, websocket: RegisteredClient | TextClient) -> None:
        """Sends MemGPT's frames to this client, in addition to Thoughtwire's clients."""
        self.clients.add(websocket)

    def unregister_client(self, websocket: RegisteredClient | TextClient) -> None:
        """Stops sending frames to this client."""
        self.clients.remove(websocket)

    def step_yield(self) -> None:
        """Does nothing. MemGPT's agent calls it between two steps."""

    def step_complete(self) -> None:
        """Does nothing. MemGPT's agent calls it after a step."""

    @staticmethod
    def print_messages(message_sequence: Iterable[Any], dump: bool = False) -> None:
        """Prints messages of the agent's context, one on each line.

        With `dump` each line begins with the message's number; the newest is 1.
        """
        messages = [*message_sequence]
        for number, message in zip(range(len(messages), 0, -1), messages, strict=True):
            print(f"[{number}] {_shown(message)}" if dump else _shown(message))

    @staticmethod
    def print_messages_simple(message_sequence: Iterable[Any]) -> None:
        """Prints messages of the agent's context, one on each line."""
        for message in message_sequence:
            print(_shown(message))

    @staticmethod
    def print_messages_raw(message_sequence: Iterable[Any]) -> None:
        """Prints messages of the agent's context as dictionaries."""
        for message in message_sequence:
            print(_as_dict(message))


class SyncInterface(_Interface[blocking.Interface]):
    """Replaces `memgpt.server.ws_api.interface.SyncWebSocketInterface`."""

    def __init__(self) -> None:
        super().__init__()
        self._loop: blocking.Loop | None = None

    def user_message(self, msg: str, msg_obj: object = None) -> None:
        """Does nothing. The turn began with this message."""

    def internal_monologue(self, msg: str | None, msg_obj: object = None) -> None:
        """Sends a thought."""
        self._tell("internal_monologue", msg)
        turn = self._turn.get()
        if turn is not None and msg:
            turn.internal_monologue(msg)

    def assistant_message(self, msg: str, msg_obj: object = None) -> None:
        """Sends a message."""
        self._tell("assistant_message", msg)
        turn = self._turn.get()
        if turn is not None and msg:
            turn.assistant_message(msg)

    def function_message(self, msg: str, msg_obj: object = None) -> None:
        """Sends a function call, or the result of one."""
        self._tell("function_message", msg)
        turn = self._turn.get()
        if turn is not None:
            turn.function_message(_as_json(msg))

    def close(self) -> None:
        """Removes all registered clients."""
        self.clients.clear()
        if self._loop is not None:
            self._loop.close()

    def _tell(self, kind: str, msg: str | None) -> None:
        if self.clients:
            # Asynchronous clients need an event loop. The turn does not wait for them.
            self._loop = self._loop or blocking.Loop()
            self._loop.begin(_send_to_all({*self.clients}, kind, msg))


class AsyncInterface(_Interface[interface.Interface]):
    """Replaces `memgpt.server.ws_api.interface.AsyncWebSocketInterface`."""

    async def user_message(self, msg: str, msg_obj: object = None) -> None:
        """Does nothing. The turn began with this message."""

    async def internal_monologue(self, msg: str | None, msg_obj: object = None) -> None:
        """Sends a thought."""
        await _send_to_all({*self.clients}, "internal_monologue", msg)
        turn = self._turn.get()
        if turn is not None and msg:
            await turn.internal_monologue(msg)

    async def assistant_message(self, msg: str, msg_obj: object = None) -> None:
        """Sends a message."""
        await _send_to_all({*self.clients}, "assistant_message", msg)
        turn = self._turn.get()
        if turn is not None and msg:
            await turn.assistant_message(msg)

    async def function_message(self, msg: str, msg_obj: object = None) -> None:
        """Sends a function call, or the result of one."""
        await _send_to_all({*self.clients}, "function_message", msg)
        turn = self._turn.get()
        if turn is not None:
            await turn.function_message(_as_json(msg))

    def close(self) -> None:
        """Removes all registered clients."""
        self.clients.clear()


_FRAMES = {
    "internal_monologue": protocol.server_agent_internal_monologue,
    "assistant_message": protocol.server_agent_assistant_message,
    "function_message": protocol.server_agent_function_message,
}


async def _send_to_all(
    clients: set[RegisteredClient | TextClient], kind: str, msg: str | None
) -> None:
    frame = _FRAMES[kind](msg)

    async def send(client: Any) -> None:
        # A WebSocket of Starlette has both methods, and its `send` does not take a text.
        sent = client.send_text(frame) if hasattr(client, "send_text") else client.send(frame)
        if inspect.isawaitable(sent):
            await sent

    # The owner of a client unregisters it. A broken one does not affect the others or the turn.
    await asyncio.gather(*map(send, clients), return_exceptions=True)


def _as_dict(message: Any) -> Any:
    """Returns a message as a dictionary. In 0.2.5 it is one, later it is an object."""
    if isinstance(message, dict):
        return message
    for name in ("to_openai_dict", "model_dump", "dict"):
        make = getattr(message, name, None)
        if callable(make):
            return make()
    return vars(message) if hasattr(message, "__dict__") else message


def _shown(message: Any) -> str:
    shown = _as_dict(message)
    if not isinstance(shown, dict):
        return str(shown)
    words = shown.get("content") if shown.get("content") is not None else shown.get("text")
    call = shown.get("function_call") or shown.get("tool_calls")
    parts = [str(part) for part in (words, call) if part]
    return f"{shown.get('role', 'message')}: {' '.join(parts)}"


def _as_json(line: str) -> str:
    """Converts a call's arguments to JSON. MemGPT writes them as a Python literal."""
    name, opened, rest = line.partition("(")
    if not (line.startswith("Running ") and opened and rest.endswith(")")):
        return line
    try:
        args: Any = ast.literal_eval(rest[:-1])
        return f"{name}({json.dumps(args, ensure_ascii=False, allow_nan=False)})"
    except (ValueError, SyntaxError, TypeError, RecursionError):
        return line
