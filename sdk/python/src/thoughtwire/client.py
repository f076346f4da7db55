"""A client of a server, over one connection that is reconnected whenever it breaks."""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from . import codec, commands, frames
from .address import Address
from .connection import Connection, ConnectionState
from .errors import ClosedError, RefusedError
from .events import HistoryEntry, Record
from .mailbox import Mailbox
from .rest import Rest, path_segment
from .room import Cursor, Room, Tool


async def connect(
    url: str | None = None,
    *,
    key: str | None = None,
    name: str | None = None,
    timeout: float | None = 10.0,
) -> "Client":
    """Opens a client's connection; see :class:`Client` and :meth:`Client.open`.

    >>> client = await connect("http://127.0.0.1:8282")  # doctest: +SKIP
    """
    return await Client(url, key=key, name=name).open(timeout)


class Client:
    """One connection to a server, reconnected whenever it breaks.

    A command without an answer is sent again on the next connection, in order and under the same
    id, so that it takes effect once. This holds also for commands without a connection.

    `url` defaults to ``THOUGHTWIRE_URL``, and then to a server on this machine. `key` defaults to
    ``THOUGHTWIRE_KEY``. `name` tells readers of a session's log who sent an input.

    >>> async def main():
    ...     async with Client() as client:
    ...         session = (await client.create_agent("ada")).session
    ...         room = client.attach(session, after=0)
    ...         await room.send("What is 6*7?")
    ...         async for shown in room:
    ...             print(shown)
    """

    def __init__(
        self, url: str | None = None, *, key: str | None = None, name: str | None = None
    ) -> None:
        address = Address.of(url, key)
        self._url = address.rest
        self._name = name
        self._rest = Rest(address)
        self._connection = Connection(address, _ClientListener(self))
        self._pending: dict[str, tuple[commands.Command, asyncio.Future[frames.Ack]]] = {}
        self._rooms: dict[str, Room] = {}
        self._watchers: set[Mailbox[frames.SessionListing | frames.SessionGone]] = set()

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        return self._connection.state

    @property
    def waiting(self) -> int:
        """Number of commands that wait for their answer."""
        return len(self._pending)

    def on_state(
        self, watcher: Callable[[ConnectionState, str | None], None]
    ) -> Callable[[], None]:
        """Calls back with the new state and a reason on every change of :attr:`state`.

        Returns a function that ends the callbacks.
        """
        return self._connection.on_state(watcher)

    async def open(self, timeout: float | None = 10.0) -> "Client":
        """Connects, and returns when the connection is open for the first time.

        :param timeout: a limit in seconds; None waits without a limit.
        :raises ClosedError: when the limit passes, or the server refuses the connection.
        """
        decided = asyncio.Event()

        def watch(state: ConnectionState, _: str | None = None) -> None:
            if state in ("open", "closed"):
                decided.set()

        watch(self.state)
        unwatch = self._connection.on_state(watch)
        self._connection.start()
        try:
            await asyncio.wait_for(decided.wait(), timeout)
        except asyncio.TimeoutError:
            reason = self._connection.reason
            await self.close()
            raise ClosedError(
                f"no server answers at {self._url} ({reason}); `thoughtwire serve` starts one"
            ) from None
        finally:
            unwatch()
        if self.state == "closed":
            raise ClosedError(self._connection.reason or "the client is closed")
        return self

    async def close(self) -> None:
        """Closes the connection for good. Waiting commands raise :class:`ClosedError`."""
        await self._connection.close(ClosedError("the client was closed"))

    async def __aenter__(self) -> "Client":
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def wake(self) -> None:
        """Checks the connection at once, and connects at once without one.

        Call it when the machine wakes from sleep.
        """
        self._connection.wake()

    # Commands on the native wire.

    async def create_agent(
        self,
        name: str,
        *,
        persona: str | None = None,
        human: str | None = None,
        model: str | None = None,
        style: frames.Style | None = None,
        id: str | None = None,
    ) -> frames.AgentListing:
        """Creates an agent. The result's `main_session` is its main session."""
        command = commands.CreateAgent(
            name=name, persona=persona, human=human, model=model, style=style
        )
        listing = codec.listing(await self.command(command, id=id))
        if listing is None:
            raise ClosedError("the server acknowledged the command without the agent")
        return listing

    async def ensure_agent(
        self,
        name: str,
        *,
        persona: str | None = None,
        human: str | None = None,
        model: str | None = None,
        style: frames.Style | None = None,
    ) -> frames.AgentListing:
        """Returns the agent of this name, unchanged, or creates it."""
        try:
            return await self.create_agent(
                name, persona=persona, human=human, model=model, style=style
            )
        except RefusedError as refused:
            if refused.code != "name_taken":
                raise
        return await self.agent(name)

    async def create_session(
        self,
        agent: str,
        *,
        title: str | None = None,
        instructions: str | None = None,
        history: Sequence[HistoryEntry] = (),
        id: str | None = None,
    ) -> str:
        """Creates a session with an agent, by its name or id. Returns the session's id."""
        command = commands.CreateSession(
            agent=agent, title=title, instructions=instructions, history=tuple(history)
        )
        ack = await self.command(command, id=id)
        if ack.session is None:
            raise ClosedError("the server acknowledged the command without the session")
        return ack.session

    async def delete_session(self, session: str, *, id: str | None = None) -> None:
        """Deletes a session and its log."""
        await self.command(commands.DeleteSession(session=session), id=id)

    def attach(
        self,
        session: str,
        *,
        after: int | None = None,
        epoch: str | None = None,
        cursor: Cursor | None = None,
        last: int | None = None,
        tools: Mapping[str, Tool] | None = None,
    ) -> Room:
        """Attaches to a session. A client has at most one room for each session.

        Without `after`, `cursor` or `last` the room begins at the head.

        :param after: begin after this position, 0 for the whole log.
        :param epoch: the lifetime of the log that `after` belongs to.
        :param cursor: position and epoch, from :attr:`Room.cursor`.
        :param last: begin with this many of the newest events.
        :param tools: tools that this client runs, by name.
        :raises ValueError: when the client is attached already, or parameters exclude each other.
        """
        if session in self._rooms:
            raise ValueError(f"this client is attached to {session} already")
        if cursor is not None:
            after, epoch = cursor.seq, cursor.epoch
        # Checked here and not when connected, since the mistake is the caller's.
        attach = commands.Attach(session=session, after=after, epoch=epoch, last=last)
        commands.check_attach(attach)
        room = Room(
            session,
            self,
            self._connection.write,
            lambda: self._forget_room(session),
            after=after,
            epoch=epoch,
            last=last,
            tools=tools or {},
        )
        self._rooms[session] = room
        if self.state == "closed":
            room._end(ClosedError("the client is closed"))
        else:
            room._connected()
        return room

    async def watch(self) -> AsyncGenerator[frames.SessionListing | frames.SessionGone, None]:
        """Yields all sessions, and then each session that changes."""
        mailbox: Mailbox[frames.SessionListing | frames.SessionGone] = Mailbox()
        self._watchers.add(mailbox)
        self._connection.write(commands.Watch())
        try:
            async for change in mailbox:
                yield change
        finally:
            self._watchers.discard(mailbox)

    async def command(self, command: commands.Command, *, id: str | None = None) -> frames.Ack:
        """Sends a command and waits for its answer.

        :param id: an idempotency key. Under the same id a command takes effect once.
        :raises RefusedError: when the server refuses the command.
        :raises ClosedError: when the client is closed first.
        """
        if self.state == "closed":
            raise ClosedError("the client is closed")
        id = id or str(uuid.uuid4())
        if id in self._pending:
            raise ValueError(f"a command with the id {id} waits for its answer already")
        answer: asyncio.Future[frames.Ack] = asyncio.get_running_loop().create_future()
        named = dataclasses.replace(command, id=id)
        self._pending[id] = (named, answer)
        self._write_command(named, answer)
        try:
            return await answer
        finally:
            self._pending.pop(id, None)

    # Requests over REST.

    async def agents(self) -> list[frames.AgentListing]:
        """Lists the user's agents."""
        answer = await self.rest("GET", "/v1/agents")
        return [codec.read(frames.AgentListing, agent) for agent in answer["agents"]]

    async def agent(self, name: str) -> frames.AgentListing:
        """Returns an agent by its name or id."""
        answer = await self.rest("GET", f"/v1/agents/{path_segment(name)}")
        listing: frames.AgentListing = codec.read(frames.AgentListing, answer["agent"])
        return listing

    async def edit_agent(self, agent: str, **settings: Any) -> frames.AgentListing:
        """Changes settings of an agent. A setting of None goes back to its default.

        PROTOCOL.md lists the settings.

        >>> permissions = {"calculator": "ask"}
        >>> await client.edit_agent("ada", permissions=permissions)  # doctest: +SKIP
        """
        answer = await self.rest("PATCH", f"/v1/agents/{path_segment(agent)}", settings)
        listing: frames.AgentListing = codec.read(frames.AgentListing, answer["agent"])
        return listing

    async def delete_agent(self, agent: str) -> None:
        """Deletes an agent, its sessions and its memory."""
        await self.rest("DELETE", f"/v1/agents/{path_segment(agent)}")

    async def sessions(
        self, agent: str | None = None, *, limit: int | None = None
    ) -> list[frames.SessionListing]:
        """Lists the user's sessions, those with the newest activity first."""
        answer = await self.rest("GET", "/v1/sessions", query={"agent": agent, "limit": limit})
        return [codec.read(frames.SessionListing, listing) for listing in answer["sessions"]]

    async def records(
        self, session: str, *, after: int = 0, limit: int | None = None
    ) -> list[Record]:
        """Returns a page of a session's log: at most `limit` records after `after`."""
        path = f"/v1/sessions/{path_segment(session)}/events"
        answer = await self.rest("GET", path, query={"after": after, "limit": limit})
        return [codec.read(Record, record) for record in answer["events"]]

    async def rest(
        self, method: str, path: str, body: object = None, query: Mapping[str, object] | None = None
    ) -> Any:
        """Sends any request that PROTOCOL.md lists. Returns the parsed answer.

        :raises RefusedError: when the server refuses the request.
        :raises OSError: when the server cannot be reached.
        """
        return await self._rest.ask(method, path, body, query)

    def _forget_room(self, session: str) -> None:
        self._rooms.pop(session, None)

    def _write_command(
        self, command: commands.Command, answer: "asyncio.Future[frames.Ack]"
    ) -> None:
        try:
            self._connection.write(command)
        except (RefusedError, ValueError) as error:
            if not answer.done():
                answer.set_exception(error)


class _ClientListener:
    """Passes on what a client's connection reports."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def connected(self) -> None:
        client = self._client
        if client._name is not None:
            client._connection.write(commands.Hello(client=client._name))
        for room in [*client._rooms.values()]:
            room._connected()
        if client._watchers:
            client._connection.write(commands.Watch())
        # In the order in which they were sent first, which a dict keeps.
        for command, answer in [*client._pending.values()]:
            client._write_command(command, answer)

    def received(self, frame: frames.ServerFrame) -> None:
        client = self._client
        if isinstance(frame, frames.Ack):
            _, answer = client._pending.get(frame.id, (None, None))
            if answer is not None and not answer.done():
                answer.set_result(frame)
        elif isinstance(frame, frames.Refused):
            self._refused(frame)
        elif isinstance(frame, frames.SessionChanged):
            for mailbox in client._watchers:
                mailbox.push(frame.listing)
        elif isinstance(frame, frames.SessionGone):
            for mailbox in client._watchers:
                mailbox.push(frame)
        else:
            room = client._rooms.get(getattr(frame, "session", ""))
            if room is not None:
                room._received(frame)

    def _refused(self, frame: frames.Refused) -> None:
        error = RefusedError(frame.code, frame.reason, frame.retry)
        _, answer = self._client._pending.get(frame.id or "", (None, None))
        if answer is not None:
            if not answer.done():
                answer.set_exception(error)
        elif frame.id in self._client._rooms:
            self._client._rooms[frame.id]._refused(error)

    def disconnected(self) -> None:
        for room in self._client._rooms.values():
            room._disconnected()

    def closed(self, error: ClosedError) -> None:
        client = self._client
        for _, answer in client._pending.values():
            if not answer.done():
                answer.set_exception(error)
        for room in [*client._rooms.values()]:
            room._end(error)
        for mailbox in client._watchers:
            mailbox.end()
