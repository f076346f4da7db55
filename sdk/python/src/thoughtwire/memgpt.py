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
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, Protocol, TypeVar

from . import blocking, interface

Turn = TypeVar("Turn", interface.Interface, blocking.Interface)


class RegisteredClient(Protocol):
    """Whatever takes MemGPT's frames, such as a WebSocket."""

    def send(self, frame: str, /) -> Awaitable[object] | object:
        """Takes one frame."""


class _Interface(Generic[Turn]):
    """What both forms share: the turn and the registered clients."""

    def __init__(self) -> None:
        self.clients: set[RegisteredClient] = set()
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

    def register_client(self, websocket: RegisteredClient) -> None:
        """Sends MemGPT's frames to this client as well, beside those of Thoughtwire."""
        self.clients.add(websocket)

    def unregister_client(self, websocket: RegisteredClient) -> None:
        """Ends that."""
        self.clients.remove(websocket)

    def step_yield(self) -> None:
        """MemGPT's agent is between two steps; nothing depends on it here."""


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


async def _send_to_all(clients: set[RegisteredClient], kind: str, msg: str | None) -> None:
    frame = json.dumps({"type": "agent_response", "message_type": kind, "message": msg})

    async def send(client: RegisteredClient) -> None:
        sent = client.send(frame)
        if inspect.isawaitable(sent):
            await sent

    # A client that is gone is its owner's to unregister; the others and the turn go on.
    await asyncio.gather(*map(send, clients), return_exceptions=True)


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
