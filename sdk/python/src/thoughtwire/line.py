"""One connection to a server, made again whenever it breaks."""

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
from .parts import PartJoiner, PartsError
from .pulse import Pulse
from .rest import Rest, refusal
from .sockets import NotUpgraded, Socket, opened, status_of

#: ``waiting`` is between two attempts; ``closed`` is for good.
LineState: TypeAlias = Literal["apart", "connecting", "open", "waiting", "closed"]

log = logging.getLogger("thoughtwire")

#: How long a connection may take to stand, and then to be greeted, in seconds.
_GREETED_WITHIN = 10.0
#: How often the server is asked whether it is there, and how long it may then be silent.
_ASK_EVERY = 10.0
_DEAD_AFTER = 8.0
#: Frames that wait to be written before who writes many is held up.
_FULL = 256


class Listener(Protocol):
    """Who stands behind a line."""

    def opened(self) -> None:
        """The connection stands, and the server greeted."""

    def heard(self, frame: frames.ServerFrame) -> None:
        """The server said this."""

    def broke(self) -> None:
        """The connection broke; another is made."""

    def ended(self, error: ClosedError) -> None:
        """There will be no other connection."""


class Line:
    """Keeps one connection, with full jitter between attempts, as long as it takes."""

    def __init__(self, address: Address, listener: Listener) -> None:
        self.state: LineState = "apart"
        #: Why there is no connection, as far as that is known.
        self.reason: str | None = None
        self._address = address
        self._listener = listener
        self._watchers: list[Callable[[LineState, str | None], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._socket: Socket | None = None
        self._out: deque[str] = deque()
        self._filled = asyncio.Event()
        self._spacious = asyncio.Event()
        self._woken = asyncio.Event()
        #: How long the server asked to stay away, in seconds.
        self._away = 0.0
        #: The largest frame that the server takes; beyond it the connection would end.
        self._largest: int | None = None
        self._pulse = Pulse()
        self._was_open = False
        #: An outage that was told: between attempts nothing is new.
        self._missed = False

    def on_state(self, watcher: Callable[[LineState, str | None], None]) -> Callable[[], None]:
        """Calls back whenever the state changes; gives a function that ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def start(self) -> None:
        """Begins to connect; the loop must run."""
        if self._task is None and self.state == "apart":
            self._task = asyncio.create_task(self._keep(), name="thoughtwire-line")

    def write(self, frame: ClientFrame) -> None:
        """Writes a frame behind those that wait. Without a connection it is dropped: who needs it says it again.

        :raises RefusedError: when the frame is larger than the server takes.
        :raises ValueError: when it holds what JSON cannot, whether there is a connection or not.
        """
        self.write_wire(encode(frame))

    def write_wire(self, wire: str) -> None:
        """Writes a frame that is encoded already; see :meth:`write`."""
        if self.state != "open":
            return
        self.check(wire)
        self._out.append(wire)
        self._filled.set()
        if len(self._out) >= _FULL:
            self._spacious.clear()

    def check(self, wire: str) -> None:
        """Looks whether the server takes a frame of this size, as far as it has said, connected or not.

        :raises RefusedError: when it does not.
        """
        size = len(wire.encode())
        if self._largest is not None and size > self._largest:
            raise RefusedError(
                "too_large",
                f"the frame has {size} bytes, and the server takes {self._largest}",
                False,
            )

    async def spacious(self) -> None:
        """Waits until few frames wait to be written, or there is no connection for them."""
        await self._spacious.wait()

    def wake(self) -> None:
        """Looks now whether the connection lives, and makes it now if there is none."""
        self._woken.set()

    async def close(self, error: ClosedError) -> None:
        """Ends the connection for good."""
        self._end(error)
        if self._socket is not None:
            await self._socket.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        backoff = Backoff()
        try:
            while True:
                self._enter("connecting")
                reason = await self._connection(backoff)
                if self.state == "closed":
                    return
                self._tell_of_outage(reason)
                self._enter("waiting", reason)
                self._listener.broke()
                pause = backoff.next(self._away)
                self._away = 0.0
                self._woken.clear()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause)
        except ClosedError as error:
            self._end(error)

    async def _connection(self, backoff: Backoff) -> str:
        """One connection from its beginning to its end; gives the reason of that.

        :raises ClosedError: when another would end the same way.
        """
        try:
            async with opened(
                self._address, within=_GREETED_WITHIN, ask_every=_ASK_EVERY, dead_after=_DEAD_AFTER
            ) as socket:
                self._socket = socket
                return await self._converse(socket, backoff)
        except NotUpgraded as refused:
            status, body = status_of(refused)
            if status in (401, 403):
                _, said = refusal(body) or ("", body[:200] or await self._why())
                reason = self._address.no_entry(said) if status == 401 else said
                raise ClosedError(f"the server does not let us in ({status}): {reason}") from None
            return f"the server answered {status}"
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                return "the connection broke"
            if closed.rcvd.code in FINAL_CODES:
                why = (
                    self._address.no_entry(str(closed.rcvd))
                    if closed.rcvd.code == 1008
                    else str(closed.rcvd)
                )
                raise ClosedError(f"the server closed the connection for good ({why})") from None
            return str(closed.rcvd)
        except (OSError, asyncio.TimeoutError, WebSocketException, PartsError) as error:
            return str(error) or type(error).__name__
        finally:
            self._socket = None

    async def _why(self) -> str:
        """The sentence of a refused upgrade, asked for again where the WebSocket client drops it."""
        try:
            await Rest(self._address).ask("GET", "/v1/whoami")
        except RefusedError as refused:
            return str(refused)
        except OSError:
            pass
        return "it does not say why"

    async def _converse(self, socket: Socket, backoff: Backoff) -> str:
        welcome = _frame(await asyncio.wait_for(socket.recv(), _GREETED_WITHIN))
        if not isinstance(welcome, frames.Welcome):
            return "the server did not greet"
        self._largest = welcome.limits.frame_bytes
        backoff.reset()
        self._out.clear()
        self._spacious.set()
        self._was_open, self._missed = True, False
        self._enter("open")
        self._listener.opened()
        parts = PartJoiner()
        beside = [
            *map(
                asyncio.create_task,
                (self._write_out(socket), self._look(socket), self._pulse.beat()),
            )
        ]
        try:
            while True:
                frame = _frame(await socket.recv())
                if frame is None:
                    continue
                frame = parts.take(frame)
                if isinstance(frame, frames.Goaway):
                    self._away = frame.retry_after_ms / 1000
                elif isinstance(frame, frames.Refused) and frame.code == "unauthorized":
                    self._listener.heard(
                        dataclasses.replace(frame, reason=self._address.no_entry(frame.reason))
                    )
                elif frame is not None:
                    self._listener.heard(frame)
        finally:
            for task in beside:
                task.cancel()
            self._spacious.set()

    async def _write_out(self, socket: Socket) -> None:
        with suppress(ConnectionClosed):
            while True:
                while self._out:
                    await socket.send(self._out.popleft())
                    if len(self._out) < _FULL:
                        self._spacious.set()
                self._filled.clear()
                await self._filled.wait()

    async def _look(self, socket: Socket) -> None:
        """Asks at once whether the server is there, whenever somebody wants to know."""
        with suppress(ConnectionClosed):
            while True:
                self._woken.clear()
                await self._woken.wait()
                try:
                    await asyncio.wait_for(await socket.ping(), _DEAD_AFTER / 2)
                except asyncio.TimeoutError:
                    await socket.close()

    def _tell_of_outage(self, reason: str) -> None:
        if self._missed:
            return
        self._missed = True
        how = "" if self._was_open else "; `thoughtwire serve` starts a server"
        log.warning(
            "no connection to %s (%s); trying again until there is one%s",
            self._address.rest,
            reason,
            how,
        )
        stood = self._pulse.stood_still()
        if stood:
            log.warning(
                "the event loop stood still for %.0f s before: what blocks it, such as time.sleep, belongs into"
                " asyncio.to_thread, or a turn's function into a plain one, which runs on a thread",
                stood,
            )

    def _end(self, error: ClosedError) -> None:
        if self.state != "closed":
            self._enter("closed", str(error))
            self._listener.ended(error)

    def _enter(self, state: LineState, reason: str | None = None) -> None:
        if state != self.state:
            self.state, self.reason = state, reason or self.reason
            for watcher in [*self._watchers]:
                watcher(state, reason)


def _frame(wire: str | bytes) -> frames.ServerFrame | None:
    """A frame; nothing for what is none that this version knows."""
    try:
        return decode_server_frame(wire if isinstance(wire, str) else wire.decode())
    except (BadFrame, UnicodeDecodeError) as bad:
        log.debug("a frame was passed over: %s", bad)
        return None
