"""A server of one's own, a scripted one, and what the tests share."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from thoughtwire import Client, Room, Shown, events
from thoughtwire.frames import EventFrame

serve: Any
try:
    serve = import_module("websockets.asyncio.server").serve
except ImportError:
    # The version that `pymemgpt` pins.
    serve = import_module("websockets.server").serve

HERE = Path(__file__).parent
BINARY = os.environ.get("THOUGHTWIRE_BIN") or str(
    HERE.parents[2] / "target" / "debug" / "thoughtwire"
)
#: Every wait ends by a condition; this only says when the condition is given up.
PATIENCE = 60.0


class Server:
    """A running ``thoughtwire serve``, which can be killed and started again at the same address."""

    def __init__(self, *flags: str) -> None:
        self._dir = tempfile.mkdtemp(prefix="thoughtwire-")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._flags = flags
        self._process: subprocess.Popen[str] | None = None
        self.again()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def again(self) -> None:
        """Starts it again with the same data at the same address."""
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
        """Stops it as an operator would; it drains and says `goaway`."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self._dir, ignore_errors=True)

    @property
    def owner(self) -> str:
        """The key that opens everything."""
        token: str = json.loads((Path(self._dir) / "server.json").read_text())["token"]
        return token

    async def log(self, session: str) -> list[Any]:
        """A session's log, as REST tells it."""
        async with Client(self.url) as client:
            return await client.records(session, limit=1000)


async def until(room: Room, last: Callable[[EventFrame], bool]) -> list[EventFrame]:
    """Reads events until one holds, and gives all of them."""
    seen: list[EventFrame] = []
    async for shown in room:
        if isinstance(shown, EventFrame):
            seen.append(shown)
            if last(shown):
                return seen
    raise AssertionError("the room ended first")


def ended(frame: EventFrame) -> bool:
    return isinstance(frame.event, events.TurnEnded)


def messages(frames: list[EventFrame]) -> list[str]:
    """The texts of the messages among events."""
    return [frame.event.text for frame in frames if isinstance(frame.event, events.Message)]


async def shown_until(room: Room, last: Callable[[Shown], bool]) -> list[Shown]:
    """Everything a room shows until something holds."""
    seen: list[Shown] = []
    async for shown in room:
        seen.append(shown)
        if last(shown):
            return seen
    raise AssertionError("the room ended first")


class Cable:
    """What lies between a program and the server; it can be cut, and is whole again at once."""

    def __init__(self, server: Server) -> None:
        self._port = int(server.url.rsplit(":", 1)[1])
        self._ends: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def __aenter__(self) -> "Cable":
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


class Peer:
    """The other side of one connection, played by the test."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        request = getattr(connection, "request", None)
        self.headers = request.headers if request else getattr(connection, "request_headers", {})

    async def say(self, **frame: Any) -> None:
        await self._connection.send(json.dumps(frame))

    async def say_raw(self, wire: str) -> None:
        await self._connection.send(wire)

    async def hears_any(self) -> Any:
        """The next frame."""
        return json.loads(await asyncio.wait_for(self._connection.recv(), PATIENCE))

    async def hears(self, type: str) -> Any:
        """The next frame, which must be of this type; of what an agent says, of this verb."""
        frame = await self.hears_any()
        assert frame.get("verb", frame["type"]) == type, frame
        return frame

    async def closes(self, code: int = 1011, reason: str = "") -> None:
        await self._connection.close(code, reason)

    async def breaks(self) -> None:
        """Ends the connection without a word."""
        self._connection.transport.abort()
        await self._connection.wait_closed()


class Scripted:
    """A server whose every word is the test's."""

    def __init__(self, url: str, peers: "asyncio.Queue[Peer]") -> None:
        self.url = url
        self._peers = peers

    async def greets(self, **limits: int) -> Peer:
        """The next connection, greeted."""
        peer = await asyncio.wait_for(self._peers.get(), PATIENCE)
        await peer.say(type="welcome", protocol="thoughtwire.v1", server="scripted", limits=limits)
        return peer


@asynccontextmanager
async def scripted() -> AsyncIterator[Scripted]:
    peers: asyncio.Queue[Peer] = asyncio.Queue()

    async def accept(connection: Any) -> None:
        await peers.put(Peer(connection))
        await connection.wait_closed()

    async with serve(accept, "127.0.0.1", 0) as server:
        port = [*server.sockets][0].getsockname()[1]
        yield Scripted(f"http://127.0.0.1:{port}", peers)


async def soon(condition: Callable[[], bool]) -> None:
    """Waits until something holds."""

    async def holds() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(holds(), PATIENCE)
