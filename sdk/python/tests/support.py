"""A real server, a scripted one, and helpers that the tests share."""

import asyncio
import importlib.util
import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from thoughtwire import Agent, Client, Room, Shown, events
from thoughtwire.frames import EventFrame

serve: Any
try:
    serve = import_module("websockets.asyncio.server").serve
except ImportError:
    # The version that `pymemgpt` pins has no `websockets.asyncio`.
    serve = import_module("websockets.server").serve

HERE = Path(__file__).parent
BINARY = os.environ.get("THOUGHTWIRE_BIN") or str(
    HERE.parents[2] / "target" / "debug" / "thoughtwire"
)
#: Time limit of every wait for a condition, in seconds.
PATIENCE = 60.0


_ports = itertools.count(10_000 + os.getpid() % 2_000 * 10)


def lasting_port() -> int:
    """Finds a port at which a server can be started again.

    It is below those that systems give to outgoing connections: one of another test would take it
    while the server is down.
    """
    while True:
        port = next(_ports)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class RealServer:
    """A running ``thoughtwire serve``, which a test can kill and restart at the same address."""

    def __init__(self, *flags: str) -> None:
        self._dir = tempfile.mkdtemp(prefix="thoughtwire-")
        self._port = lasting_port()
        self._flags = flags
        self._process: subprocess.Popen[str] | None = None
        self.again()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def again(self) -> None:
        """Starts the server with the same data at the same address."""
        command = [
            BINARY,
            "serve",
            "--listen",
            f"127.0.0.1:{self._port}",
            "--data-dir",
            self._dir,
            *self._flags,
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "listening on http" in line, line

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def terminate(self) -> None:
        """Stops it as an operator would. It drains and sends `goaway`."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self._dir, ignore_errors=True)

    @property
    def owner(self) -> str:
        """The owner's key."""
        token: str = json.loads((Path(self._dir) / "server.json").read_text())["token"]
        return token

    async def log(self, session: str) -> list[Any]:
        """Reads a session's log over REST."""
        async with Client(self.url) as client:
            return await client.records(session, limit=1000)


async def until(room: Room, last: Callable[[EventFrame], bool]) -> list[EventFrame]:
    """Reads events up to the first that fulfils a condition, and returns all of them."""
    seen: list[EventFrame] = []
    async for shown in room:
        if isinstance(shown, EventFrame):
            seen.append(shown)
            if last(shown):
                return seen
    raise AssertionError("the room ended before the condition was fulfilled")


def ended(frame: EventFrame) -> bool:
    return isinstance(frame.event, events.TurnEnded)


def messages(frames: list[EventFrame]) -> list[str]:
    """The texts of the messages among events."""
    return [frame.event.text for frame in frames if isinstance(frame.event, events.Message)]


async def shown_until(room: Room, last: Callable[[Shown], bool]) -> list[Shown]:
    """Reads a room up to the first item that fulfils a condition."""
    seen: list[Shown] = []
    async for shown in room:
        seen.append(shown)
        if last(shown):
            return seen
    raise AssertionError("the room ended before the condition was fulfilled")


class BreakableProxy:
    """A TCP proxy in front of the server, which can break its connections."""

    def __init__(self, server: RealServer) -> None:
        self._port = int(server.url.rsplit(":", 1)[1])
        self._ends: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def __aenter__(self) -> "BreakableProxy":
        self._listener = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends |= {writer, there}
        await asyncio.gather(_pour(reader, there), _pour(there_reader, writer))


async def _pour(source: asyncio.StreamReader, into: asyncio.StreamWriter) -> None:
    try:
        while piece := await source.read(65536):
            into.write(piece)
            await into.drain()
    except ConnectionError:
        pass
    finally:
        into.close()


class ScriptedPeer:
    """The server's side of one connection, played by the test."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        request = getattr(connection, "request", None)
        self.headers = request.headers if request else getattr(connection, "request_headers", {})

    async def say(self, **frame: Any) -> None:
        await self._connection.send(json.dumps(frame))

    async def say_raw(self, wire: str) -> None:
        await self._connection.send(wire)

    async def hears_any(self) -> Any:
        """Receives the next frame."""
        return json.loads(await asyncio.wait_for(self._connection.recv(), PATIENCE))

    async def hears(self, type: str) -> Any:
        """Receives the next frame, which must have this type, or this verb of `say`."""
        frame = await self.hears_any()
        assert frame.get("verb", frame["type"]) == type, frame
        return frame

    async def closes(self, code: int = 1011, reason: str = "") -> None:
        await self._connection.close(code, reason)

    async def breaks(self) -> None:
        """Breaks the connection without a close frame."""
        self._connection.transport.abort()
        await self._connection.wait_closed()


class ScriptedServer:
    """A server whose frames the test sends."""

    def __init__(self, url: str, peers: "asyncio.Queue[ScriptedPeer]") -> None:
        self.url = url
        self._peers = peers

    async def accepts(self) -> ScriptedPeer:
        """Accepts the next connection, and sends nothing."""
        return await asyncio.wait_for(self._peers.get(), PATIENCE)

    async def greets(self, **limits: int) -> ScriptedPeer:
        """Accepts the next connection, and sends the welcome."""
        peer = await self.accepts()
        await peer.say(type="welcome", protocol="thoughtwire.v1", server="scripted", limits=limits)
        return peer


@asynccontextmanager
async def scripted() -> AsyncIterator[ScriptedServer]:
    peers: asyncio.Queue[ScriptedPeer] = asyncio.Queue()

    async def accept(connection: Any) -> None:
        await peers.put(ScriptedPeer(connection))
        await connection.wait_closed()

    async with serve(accept, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield ScriptedServer(f"http://127.0.0.1:{port}", peers)


def needs(module: str, how: str) -> pytest.MarkDecorator:
    """Skips a test where a module is not installed."""
    try:
        is_there = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        # The package that would contain it is missing.
        is_there = False
    return pytest.mark.skipif(not is_there, reason=f"needs {how}")


async def soon(condition: Callable[[], bool]) -> None:
    """Waits until a condition is fulfilled."""

    async def holds() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(holds(), PATIENCE)


@asynccontextmanager
async def talking(agent: Agent, server: RealServer) -> AsyncIterator[tuple[Client, Room]]:
    """Serves an agent, and attaches a client to its main session."""
    serving = asyncio.create_task(agent.serve())
    session = (await agent.offered()).main_session
    assert session
    async with Client(server.url, name="test") as client:
        yield client, client.attach(session, after=0)
    await agent.stop(grace=0)
    await serving


def ending(seen: list[EventFrame]) -> events.TurnEnded:
    end = seen[-1].event
    assert isinstance(end, events.TurnEnded)
    return end
