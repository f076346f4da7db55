"""A client of a server, over one connection that is made again whenever it breaks."""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from . import codec, commands, frames
from .address import Address
from .errors import ClosedError, RefusedError
from .events import HistoryEntry, Record
from .line import Line, LineState
from .mailbox import Mailbox
from .rest import Rest, part
from .room import Cursor, Room, Tool


async def connect(
    url: str | None = None,
    *,
    key: str | None = None,
    name: str | None = None,
    timeout: float | None = 10.0,
) -> "Client":
    """A client whose connection stands; see :class:`Client` and :meth:`Client.open`.

    >>> client = await connect("http://127.0.0.1:8282")  # doctest: +SKIP
    """
    return await Client(url, key=key, name=name).open(timeout)


class Client:
    """One connection to a server, made again whenever it breaks.

    Commands that have no answer when the connection breaks, or are asked while there is none, are sent
    when it stands again, in their order and with their ids, so that each takes effect once.

    `url` is the server's, else ``THOUGHTWIRE_URL``, else this machine's; `key` what it wants to be shown,
    else ``THOUGHTWIRE_KEY``; `name` is for people who look at a session's log.

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
        self._line = Line(address, _Ears(self))
        self._pending: dict[str, tuple[commands.Command, asyncio.Future[frames.Ack]]] = {}
        self._rooms: dict[str, Room] = {}
        self._watchers: set[Mailbox[frames.SessionListing | frames.SessionGone]] = set()

    @property
    def state(self) -> LineState:
        """Whether the connection stands."""
        return self._line.state

    @property
    def waiting(self) -> int:
        """How many commands wait for their answer."""
        return len(self._pending)

    def on_state(self, watcher: Callable[[LineState, str | None], None]) -> Callable[[], None]:
        """Calls back with the state and a reason whenever :attr:`state` changes; gives a function that ends that."""
        return self._line.on_state(watcher)

    async def open(self, timeout: float | None = 10.0) -> "Client":
        """Begins to connect, and returns when the connection stands for the first time.

        :param timeout: in seconds; with none it waits as long as it takes.
        :raises ClosedError: when it does not come to stand in time, or the server will not have us.
        """
        decided = asyncio.Event()

        def watch(state: LineState, _: str | None = None) -> None:
            if state in ("open", "closed"):
                decided.set()

        watch(self.state)
        unwatch = self._line.on_state(watch)
        self._line.start()
        try:
            await asyncio.wait_for(decided.wait(), timeout)
        except asyncio.TimeoutError:
            reason = self._line.reason
            await self.close()
            raise ClosedError(
                f"no server answers at {self._url} ({reason}); `thoughtwire serve` starts one"
            ) from None
        finally:
            unwatch()
        if self.state == "closed":
            raise ClosedError(self._line.reason or "the client is closed")
        return self

    async def close(self) -> None:
        """Ends the connection for good. What waits for an answer fails with :class:`ClosedError`."""
        await self._line.close(ClosedError("the client was closed"))

    async def __aenter__(self) -> "Client":
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def wake(self) -> None:
        """Looks now whether the connection lives, and makes it now if there is none: when a machine wakes up."""
        self._line.wake()

    # What is asked over the wire.

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
        """Makes an agent with its main session, which is :attr:`~frames.AgentListing.main_session`."""
        command = commands.CreateAgent(
            name=name, persona=persona, human=human, model=model, style=style
        )
        listing = codec.listing(await self.command(command, id=id))
        if listing is None:
            raise ClosedError("the server acknowledged an agent without telling it")
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
        """An agent by its name; one that is not there is made, and one that is stays as it is."""
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
        """Opens a session with an agent, by its name or id; gives the session's id."""
        command = commands.CreateSession(
            agent=agent, title=title, instructions=instructions, history=tuple(history)
        )
        ack = await self.command(command, id=id)
        if ack.session is None:
            raise ClosedError("the server acknowledged a session without telling it")
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
        """Takes a place in a session. One client has at most one in each.

        :param after: begin behind this position, 0 for everything; without it and `last`, at the head.
        :param epoch: the log's lifetime that `after` is of.
        :param cursor: both of them, as :attr:`Room.cursor` gave it.
        :param last: begin with the newest so many events.
        :param tools: tools that this client runs, by name.
        :raises ValueError: when there is a place already, or those exclude each other.
        """
        if session in self._rooms:
            raise ValueError(f"this client is attached to {session} already")
        if cursor is not None:
            after, epoch = cursor.seq, cursor.epoch
        # Here, not when the connection stands: what excludes each other is the caller's mistake.
        attach = commands.Attach(session=session, after=after, epoch=epoch, last=last)
        commands.check_attach(attach)
        room = Room(
            session,
            self,
            self._line.write,
            lambda: self._left(session),
            after=after,
            epoch=epoch,
            last=last,
            tools=tools or {},
        )
        self._rooms[session] = room
        if self.state == "closed":
            room._end(ClosedError("the client is closed"))
        else:
            room._opened()
        return room

    async def watch(self) -> AsyncGenerator[frames.SessionListing | frames.SessionGone, None]:
        """The list of sessions: all that there are, then each that changes."""
        mailbox: Mailbox[frames.SessionListing | frames.SessionGone] = Mailbox()
        self._watchers.add(mailbox)
        self._line.write(commands.Watch())
        try:
            async for change in mailbox:
                yield change
        finally:
            self._watchers.discard(mailbox)

    async def command(self, command: commands.Command, *, id: str | None = None) -> frames.Ack:
        """Sends a command and waits for its answer.

        :param id: a name of one's own: under the same name it takes effect once, however often it is sent.
        :raises RefusedError: when the server says no.
        :raises ClosedError: when the client is closed first.
        """
        if self.state == "closed":
            raise ClosedError("the client is closed")
        id = id or str(uuid.uuid4())
        if id in self._pending:
            raise ValueError(f"a command {id} waits for its answer already")
        answer: asyncio.Future[frames.Ack] = asyncio.get_running_loop().create_future()
        named = dataclasses.replace(command, id=id)
        self._pending[id] = (named, answer)
        self._ask(named, answer)
        try:
            return await answer
        finally:
            self._pending.pop(id, None)

    # What is asked over REST.

    async def agents(self) -> list[frames.AgentListing]:
        """One's agents."""
        answer = await self.rest("GET", "/v1/agents")
        return [codec.read(frames.AgentListing, agent) for agent in answer["agents"]]

    async def agent(self, name: str) -> frames.AgentListing:
        """An agent, by its name or id."""
        answer = await self.rest("GET", f"/v1/agents/{part(name)}")
        listing: frames.AgentListing = codec.read(frames.AgentListing, answer["agent"])
        return listing

    async def edit_agent(self, agent: str, **settings: Any) -> frames.AgentListing:
        """Changes settings of an agent (PROTOCOL.md has them); with none a setting gets back its default.

        >>> await client.edit_agent("ada", name="eve", permissions={"calculator": "ask"})  # doctest: +SKIP
        """
        answer = await self.rest("PATCH", f"/v1/agents/{part(agent)}", settings)
        listing: frames.AgentListing = codec.read(frames.AgentListing, answer["agent"])
        return listing

    async def delete_agent(self, agent: str) -> None:
        """Deletes an agent with its sessions and its memory."""
        await self.rest("DELETE", f"/v1/agents/{part(agent)}")

    async def sessions(
        self, agent: str | None = None, *, limit: int | None = None
    ) -> list[frames.SessionListing]:
        """One's sessions, newest activity first."""
        answer = await self.rest("GET", "/v1/sessions", query={"agent": agent, "limit": limit})
        return [codec.read(frames.SessionListing, listing) for listing in answer["sessions"]]

    async def records(
        self, session: str, *, after: int = 0, limit: int | None = None
    ) -> list[Record]:
        """A page of a session's log: at most `limit` records behind `after`."""
        path = f"/v1/sessions/{part(session)}/events"
        answer = await self.rest("GET", path, query={"after": after, "limit": limit})
        return [codec.read(Record, record) for record in answer["events"]]

    async def rest(
        self, method: str, path: str, body: object = None, query: Mapping[str, object] | None = None
    ) -> Any:
        """Any other request of PROTOCOL.md's table; gives the parsed answer.

        :raises RefusedError: when the server says no.
        :raises OSError: when it cannot be reached.
        """
        return await self._rest.ask(method, path, body, query)

    def _left(self, session: str) -> None:
        self._rooms.pop(session, None)

    def _ask(self, command: commands.Command, answer: "asyncio.Future[frames.Ack]") -> None:
        try:
            self._line.write(command)
        except (RefusedError, ValueError) as error:
            if not answer.done():
                answer.set_exception(error)


class _Ears:
    """What a client hears of its line."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def opened(self) -> None:
        client = self._client
        if client._name is not None:
            client._line.write(commands.Hello(client=client._name))
        for room in [*client._rooms.values()]:
            room._opened()
        if client._watchers:
            client._line.write(commands.Watch())
        # In the order in which they were asked: a dict keeps it.
        for command, answer in [*client._pending.values()]:
            client._ask(command, answer)

    def heard(self, frame: frames.ServerFrame) -> None:
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
                room._heard(frame)

    def _refused(self, frame: frames.Refused) -> None:
        error = RefusedError(frame.code, frame.reason, frame.retry)
        _, answer = self._client._pending.get(frame.id or "", (None, None))
        if answer is not None:
            if not answer.done():
                answer.set_exception(error)
        elif frame.id in self._client._rooms:
            self._client._rooms[frame.id]._refused(error)

    def broke(self) -> None:
        for room in self._client._rooms.values():
            room._broke()

    def ended(self, error: ClosedError) -> None:
        client = self._client
        for _, answer in client._pending.values():
            if not answer.done():
                answer.set_exception(error)
        for room in [*client._rooms.values()]:
            room._end(error)
        for mailbox in client._watchers:
            mailbox.end()
