"""One connection to a server, reconnected whenever it breaks."""

import asyncio
import dataclasses
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Protocol, TypeAlias

from websockets.exceptions import ConnectionClosed, WebSocketException

from . import frames
from .address import Address
from .backoff import Backoff
from .codec import BadFrame, decode_server_frame, encode
from .errors import ClosedError, RefusedError
from .generated import FINAL_CODES, ClientFrame
from .loop_monitor import LoopMonitor
from .parts import PartJoiner, PartsError
from .rest import Rest, refusal
from .sockets import NotUpgraded, Socket, opened, status_of

#: ``apart`` is before the first attempt, ``waiting`` between two attempts, ``closed`` for good.
ConnectionState: TypeAlias = Literal["apart", "connecting", "open", "waiting", "closed"]

log = logging.getLogger("thoughtwire")

#: Time limit for the handshake, and then for the server's first frame, in seconds.
_CONNECT_TIMEOUT = 10.0
#: Time between two pings, and the time limit for a pong, in seconds.
_PING_INTERVAL = 10.0
_PONG_TIMEOUT = 8.0
#: Number of unwritten frames from which a writer has to wait.
_MAX_UNWRITTEN = 256


class ConnectionListener(Protocol):
    """The user of a connection."""

    def connected(self) -> None:
        """Called when the connection is open and the server has sent its welcome."""

    def received(self, frame: frames.ServerFrame) -> None:
        """Called with each frame of the server."""

    def disconnected(self) -> None:
        """Called when the connection broke. Another attempt follows."""

    def closed(self, error: ClosedError) -> None:
        """Called when the connection is closed for good."""


class Connection:
    """Keeps one connection open. Retries without end, with full jitter between attempts."""

    def __init__(self, address: Address, listener: ConnectionListener) -> None:
        self.state: ConnectionState = "apart"
        #: Why there is no connection, as far as that is known.
        self.reason: str | None = None
        self._address = address
        self._listener = listener
        self._watchers: list[Callable[[ConnectionState, str | None], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._socket: Socket | None = None
        #: Encoded frames that are not written yet.
        self._unwritten: deque[str] = deque()
        self._has_frames = asyncio.Event()
        self._writable = asyncio.Event()
        self._woken = asyncio.Event()
        #: How long the server asked clients to stay away, in seconds.
        self._retry_after = 0.0
        #: The largest frame that the server takes, in bytes. A larger one ends the connection.
        self._max_frame_bytes: int | None = None
        self._monitor = LoopMonitor()
        self._was_open = False
        #: Whether the current outage has been logged. Each outage is logged once.
        self._outage_logged = False

    def on_state(
        self, watcher: Callable[[ConnectionState, str | None], None]
    ) -> Callable[[], None]:
        """Calls back on every change of the state. Returns a function that ends the callbacks."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def start(self) -> None:
        """Begins to connect. The event loop must be running."""
        if self._task is None and self.state == "apart":
            self._task = asyncio.create_task(self._keep_open(), name="thoughtwire-connection")

    def write(self, frame: ClientFrame) -> None:
        """Queues a frame. Without an open connection the frame is dropped.

        :raises RefusedError: when the frame is larger than the server takes.
        :raises ValueError: when JSON cannot express the frame, connected or not.
        """
        self.write_wire(encode(frame))

    def write_wire(self, wire: str) -> None:
        """Queues a frame that is encoded already; see :meth:`write`."""
        if self.state != "open":
            return
        self.check_size(wire)
        self._unwritten.append(wire)
        self._has_frames.set()
        if len(self._unwritten) >= _MAX_UNWRITTEN:
            self._writable.clear()

    def check_size(self, wire: str) -> None:
        """Checks a frame's size against the limit that the server last announced.

        :raises RefusedError: when the frame is larger.
        """
        size = len(wire.encode())
        if self._max_frame_bytes is not None and size > self._max_frame_bytes:
            reason = f"the frame has {size} bytes, and the server takes {self._max_frame_bytes}"
            raise RefusedError("too_large", reason, retry=False)

    async def writable(self) -> None:
        """Waits until few frames are unwritten, or there is no connection."""
        await self._writable.wait()

    def wake(self) -> None:
        """Checks at once whether the connection is alive. Connects at once without one."""
        self._woken.set()

    async def close(self, error: ClosedError) -> None:
        """Closes the connection for good."""
        self._close(error)
        if self._socket is not None:
            await self._socket.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_open(self) -> None:
        backoff = Backoff()
        try:
            while True:
                self._set_state("connecting")
                reason = await self._connect_once(backoff)
                if self.state == "closed":
                    return
                self._log_outage(reason)
                self._set_state("waiting", reason)
                self._listener.disconnected()
                pause = backoff.next(self._retry_after)
                self._retry_after = 0.0
                self._woken.clear()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause)
        except ClosedError as error:
            self._close(error)

    async def _connect_once(self, backoff: Backoff) -> str:
        """Runs one connection from its beginning to its end. Returns why it ended.

        :raises ClosedError: when another attempt would end the same way.
        """
        try:
            async with opened(
                self._address,
                connect_timeout=_CONNECT_TIMEOUT,
                ping_interval=_PING_INTERVAL,
                pong_timeout=_PONG_TIMEOUT,
            ) as socket:
                self._socket = socket
                return await self._converse(socket, backoff)
        except NotUpgraded as refused:
            status, body = status_of(refused)
            if status in (401, 403):
                _, reason = refusal(body) or ("", body[:200] or await self._refusal_reason())
                if status == 401:
                    reason = self._address.explain_unauthorized(reason)
                raise ClosedError(
                    f"the server refused the connection ({status}): {reason}"
                ) from None
            return f"the server answered {status}"
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                return "the connection broke"
            reason = str(closed.rcvd)
            if closed.rcvd.code in FINAL_CODES:
                if closed.rcvd.code == 1008:
                    reason = self._address.explain_unauthorized(reason)
                raise ClosedError(f"the server closed the connection for good ({reason})") from None
            return reason
        except (OSError, asyncio.TimeoutError, WebSocketException, PartsError) as error:
            return str(error) or type(error).__name__
        finally:
            self._socket = None

    async def _refusal_reason(self) -> str:
        """Asks REST why the server refuses us. Some WebSocket clients drop the answer's body."""
        try:
            await Rest(self._address).ask("GET", "/v1/whoami")
        except RefusedError as refused:
            return str(refused)
        except OSError:
            pass
        return "it gives no reason"

    async def _converse(self, socket: Socket, backoff: Backoff) -> str:
        welcome = _decode(await asyncio.wait_for(socket.recv(), _CONNECT_TIMEOUT))
        if not isinstance(welcome, frames.Welcome):
            return "the server did not send a welcome"
        if self.state == "closed":
            return "the client was closed"
        self._max_frame_bytes = welcome.limits.frame_bytes
        backoff.reset()
        self._unwritten.clear()
        self._writable.set()
        self._was_open, self._outage_logged = True, False
        self._set_state("open")
        self._listener.connected()
        parts = PartJoiner()
        beside = (self._write_frames(socket), self._ping_when_woken(socket), self._monitor.run())
        tasks = [*map(asyncio.create_task, beside)]
        try:
            while True:
                frame = _decode(await socket.recv())
                if frame is None:
                    continue
                frame = parts.take(frame)
                if isinstance(frame, frames.Goaway):
                    self._retry_after = frame.retry_after_ms / 1000
                elif isinstance(frame, frames.Refused) and frame.code == "unauthorized":
                    reason = self._address.explain_unauthorized(frame.reason)
                    self._listener.received(dataclasses.replace(frame, reason=reason))
                elif frame is not None:
                    self._listener.received(frame)
        finally:
            for task in tasks:
                task.cancel()
            self._writable.set()

    async def _write_frames(self, socket: Socket) -> None:
        with suppress(ConnectionClosed):
            while True:
                while self._unwritten:
                    await socket.send(self._unwritten.popleft())
                    if len(self._unwritten) < _MAX_UNWRITTEN:
                        self._writable.set()
                self._has_frames.clear()
                await self._has_frames.wait()

    async def _ping_when_woken(self, socket: Socket) -> None:
        """Pings the server on each :meth:`wake`, and closes a connection that does not answer."""
        with suppress(ConnectionClosed):
            while True:
                self._woken.clear()
                await self._woken.wait()
                try:
                    await asyncio.wait_for(await socket.ping(), _PONG_TIMEOUT / 2)
                except asyncio.TimeoutError:
                    await socket.close()

    def _log_outage(self, reason: str) -> None:
        if self._outage_logged:
            return
        self._outage_logged = True
        log.warning(
            "no connection to %s (%s); trying again until there is one%s",
            self._address.rest,
            reason,
            "" if self._was_open else "; `thoughtwire serve` starts a server",
        )
        blocked = self._monitor.blocked_seconds()
        if blocked:
            log.warning(
                "the event loop was blocked for %.0f s before: move blocking code, such as"
                " time.sleep, into asyncio.to_thread, or make the turn's function a plain one,"
                " which runs on a thread",
                blocked,
            )

    def _close(self, error: ClosedError) -> None:
        if self.state != "closed":
            self._set_state("closed", str(error))
            self._listener.closed(error)

    def _set_state(self, state: ConnectionState, reason: str | None = None) -> None:
        if state != self.state:
            self.state, self.reason = state, reason or self.reason
            for watcher in [*self._watchers]:
                watcher(state, reason)


def _decode(wire: str | bytes) -> frames.ServerFrame | None:
    """Decodes a frame. Returns None for a frame that this version does not know."""
    try:
        return decode_server_frame(wire if isinstance(wire, str) else wire.decode())
    except (BadFrame, UnicodeDecodeError) as bad:
        log.debug("ignored a frame: %s", bad)
        return None
