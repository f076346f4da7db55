"""MemGPT's own agent, speaking through Thoughtwire.

What `pymemgpt` 0.2's agent wants as its `interface` is here, so that it says what it thinks, does and
answers in a turn instead of to a server of its own. An interface outlives turns, as the agent does; it
speaks in the turn that it is bound to, and outside of one only to the clients registered with it.

>>> interface = SyncInterface()
>>> agent = thoughtwire.Agent("sam")  # doctest: +SKIP
>>> sam = use_preset(..., interface=interface)  # doctest: +SKIP
>>> @agent.turn  # doctest: +SKIP
... def answer(turn):
...     with interface.speaks_in(turn):
...         sam.step(package_user_message(turn.user_message))

`memgpt` is not imported: its agent calls the methods by name.
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

Turn = TypeVar("Turn", interface.Interface, blocking.Interface)


class TextClient(Protocol):
    """A client of 0.3's kind, such as a WebSocket of Starlette and FastAPI."""

    def send_text(self, frame: str, /) -> Awaitable[object] | object:
        """Takes one frame."""


class RegisteredClient(Protocol):
    """Whatever takes MemGPT's frames, such as a WebSocket."""

    def send(self, frame: str, /) -> Awaitable[object] | object:
        """Takes one frame."""


class _Interface(Generic[Turn]):
    """What both forms share: the turn and the registered clients."""

    def __init__(self) -> None:
        self.clients: set[RegisteredClient | TextClient] = set()
        # Bound for whoever runs the turn: turns on other threads and tasks have their own.
        self._turn: ContextVar[Turn | None] = ContextVar("turn", default=None)

    @contextmanager
    def speaks_in(self, turn: Turn) -> Iterator[None]:
        """Inside the block, what MemGPT's agent says is said in this turn."""
        token = self._turn.set(turn)
        try:
            yield
        finally:
            self._turn.reset(token)

    def register_client(self, websocket: RegisteredClient | TextClient) -> None:
        """Sends MemGPT's frames to this client as well, beside those of Thoughtwire."""
        self.clients.add(websocket)

    def unregister_client(self, websocket: RegisteredClient | TextClient) -> None:
        """Ends that."""
        self.clients.remove(websocket)

    def step_yield(self) -> None:
        """MemGPT's agent is between two steps; nothing depends on it here."""

    def step_complete(self) -> None:
        """A step of MemGPT's agent is over; nothing depends on it here."""

    @staticmethod
    def print_messages(message_sequence: Iterable[Any], dump: bool = False) -> None:
        """Prints messages of the agent's context, a line for each; with `dump` each has its number,
        counted from the newest, which is 1.
        """
        messages = [*message_sequence]
        for number, message in zip(range(len(messages), 0, -1), messages):
            print(f"[{number}] {_shown(message)}" if dump else _shown(message))

    @staticmethod
    def print_messages_simple(message_sequence: Iterable[Any]) -> None:
        """Prints messages of the agent's context, a line for each."""
        for message in message_sequence:
            print(_shown(message))

    @staticmethod
    def print_messages_raw(message_sequence: Iterable[Any]) -> None:
        """Prints messages of the agent's context as they are."""
        for message in message_sequence:
            print(_as_dict(message))


class SyncInterface(_Interface[blocking.Interface]):
    """In the place of `memgpt.server.ws_api.interface.SyncWebSocketInterface`."""

    def __init__(self) -> None:
        super().__init__()
        self._loop: blocking.Loop | None = None

    def user_message(self, msg: str, msg_obj: object = None) -> None:
        """What the agent was told: the turn began with it."""

    def internal_monologue(self, msg: str | None, msg_obj: object = None) -> None:
        """The agent thinks."""
        self._tell("internal_monologue", msg)
        turn = self._turn.get()
        if turn is not None and msg:
            turn.internal_monologue(msg)

    def assistant_message(self, msg: str, msg_obj: object = None) -> None:
        """The agent answers."""
        self._tell("assistant_message", msg)
        turn = self._turn.get()
        if turn is not None and msg:
            turn.assistant_message(msg)

    def function_message(self, msg: str, msg_obj: object = None) -> None:
        """The agent calls a function, or one returned."""
        self._tell("function_message", msg)
        turn = self._turn.get()
        if turn is not None:
            turn.function_message(_as_json(msg))

    def close(self) -> None:
        """Nothing more is sent to the registered clients."""
        self.clients.clear()
        if self._loop is not None:
            self._loop.close()

    def _tell(self, kind: str, msg: str | None) -> None:
        if self.clients:
            # Clients that are sent to with `await` need a loop. No turn waits for them.
            self._loop = self._loop or blocking.Loop()
            self._loop.begin(_send_to_all({*self.clients}, kind, msg))


class AsyncInterface(_Interface[interface.Interface]):
    """In the place of `memgpt.server.ws_api.interface.AsyncWebSocketInterface`."""

    async def user_message(self, msg: str, msg_obj: object = None) -> None:
        """What the agent was told: the turn began with it."""

    async def internal_monologue(self, msg: str | None, msg_obj: object = None) -> None:
        """The agent thinks."""
        await _send_to_all({*self.clients}, "internal_monologue", msg)
        turn = self._turn.get()
        if turn is not None and msg:
            await turn.internal_monologue(msg)

    async def assistant_message(self, msg: str, msg_obj: object = None) -> None:
        """The agent answers."""
        await _send_to_all({*self.clients}, "assistant_message", msg)
        turn = self._turn.get()
        if turn is not None and msg:
            await turn.assistant_message(msg)

    async def function_message(self, msg: str, msg_obj: object = None) -> None:
        """The agent calls a function, or one returned."""
        await _send_to_all({*self.clients}, "function_message", msg)
        turn = self._turn.get()
        if turn is not None:
            await turn.function_message(_as_json(msg))

    def close(self) -> None:
        """Nothing more is sent to the registered clients."""
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
        # A WebSocket of Starlette has both, and its `send` takes no text.
        sent = client.send_text(frame) if hasattr(client, "send_text") else client.send(frame)
        if inspect.isawaitable(sent):
            await sent

    # A client that is gone is its owner's to unregister; the others and the turn go on.
    await asyncio.gather(*map(send, clients), return_exceptions=True)


def _as_dict(message: Any) -> Any:
    """A message of the agent's context: a dictionary in 0.2.5, an object later."""
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
    """MemGPT prints a call's arguments as Python does; on the wire they are JSON."""
    name, opened, rest = line.partition("(")
    if not (line.startswith("Running ") and opened and rest.endswith(")")):
        return line
    try:
        args: Any = ast.literal_eval(rest[:-1])
        return f"{name}({json.dumps(args, ensure_ascii=False, allow_nan=False)})"
    except (ValueError, SyntaxError, TypeError, RecursionError):
        return line
