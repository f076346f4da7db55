"""The client whose methods block."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from .. import client as asynchronous
from .. import commands, frames
from ..connection import ConnectionState
from ..events import HistoryEntry, Record, ToolStatus
from ..reply import Reply
from ..room import Cursor, Room, Shown, Tool
from .loop import Loop

T = TypeVar("T")


def connect(
    url: str | None = None,
    *,
    key: str | None = None,
    name: str | None = None,
    timeout: float | None = 10.0,
) -> "BlockingClient":
    """Opens a client's connection. Raises what :func:`thoughtwire.connect` raises."""
    loop = Loop()
    try:
        return BlockingClient(
            loop, loop.wait(asynchronous.connect(url, key=key, name=name, timeout=timeout))
        )
    except BaseException:
        loop.close()
        raise


class BlockingClient:
    """Wraps :class:`thoughtwire.Client`. Made by :func:`connect`."""

    def __init__(self, loop: Loop, client: asynchronous.Client) -> None:
        self._loop = loop
        self._client = client

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        return self._client.state

    def close(self) -> None:
        """Closes the connection for good."""
        if self._client.state != "closed":
            self._loop.wait(self._client.close())
        self._loop.close()

    def __enter__(self) -> "BlockingClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wake(self) -> None:
        """Checks the connection at once, and connects at once without one."""
        self._loop.call(self._client.wake)

    def create_agent(
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
        return self._loop.wait(
            self._client.create_agent(
                name, persona=persona, human=human, model=model, style=style, id=id
            )
        )

    def ensure_agent(
        self,
        name: str,
        *,
        persona: str | None = None,
        human: str | None = None,
        model: str | None = None,
        style: frames.Style | None = None,
    ) -> frames.AgentListing:
        """Returns the agent of this name, unchanged, or creates it."""
        return self._loop.wait(
            self._client.ensure_agent(name, persona=persona, human=human, model=model, style=style)
        )

    def create_session(
        self,
        agent: str,
        *,
        title: str | None = None,
        instructions: str | None = None,
        history: Sequence[HistoryEntry] = (),
        id: str | None = None,
    ) -> str:
        """Creates a session with an agent, by its name or id. Returns the session's id."""
        return self._loop.wait(
            self._client.create_session(
                agent, title=title, instructions=instructions, history=history, id=id
            )
        )

    def delete_session(self, session: str, *, id: str | None = None) -> None:
        """Deletes a session and its log."""
        self._loop.wait(self._client.delete_session(session, id=id))

    def attach(
        self,
        session: str,
        *,
        after: int | None = None,
        epoch: str | None = None,
        cursor: Cursor | None = None,
        last: int | None = None,
        tools: Mapping[str, Tool] | None = None,
    ) -> "BlockingRoom":
        """Attaches to a session; see :meth:`thoughtwire.Client.attach`."""
        room = self._loop.call(
            lambda: self._client.attach(
                session, after=after, epoch=epoch, cursor=cursor, last=last, tools=tools
            )
        )
        return BlockingRoom(self._loop, room)

    def watch(self) -> Iterator[frames.SessionListing | frames.SessionGone]:
        """Yields all sessions, and then each session that changes."""
        changes = self._client.watch()
        try:
            while True:
                change = self._loop.wait(_next(changes))
                if change is None:
                    return
                yield change
        finally:
            self._loop.wait(changes.aclose())

    def command(self, command: commands.Command, *, id: str | None = None) -> frames.Ack:
        """Sends a command and waits for its answer."""
        return self._loop.wait(self._client.command(command, id=id))

    def agents(self) -> list[frames.AgentListing]:
        """Lists the user's agents."""
        return self._loop.wait(self._client.agents())

    def agent(self, name: str) -> frames.AgentListing:
        """Returns an agent by its name or id."""
        return self._loop.wait(self._client.agent(name))

    def edit_agent(self, agent: str, **settings: Any) -> frames.AgentListing:
        """Changes settings of an agent. A setting of None goes back to its default."""
        return self._loop.wait(self._client.edit_agent(agent, **settings))

    def delete_agent(self, agent: str) -> None:
        """Deletes an agent, its sessions and its memory."""
        self._loop.wait(self._client.delete_agent(agent))

    def sessions(
        self, agent: str | None = None, *, limit: int | None = None
    ) -> list[frames.SessionListing]:
        """Lists the user's sessions, those with the newest activity first."""
        return self._loop.wait(self._client.sessions(agent, limit=limit))

    def records(self, session: str, *, after: int = 0, limit: int | None = None) -> list[Record]:
        """Returns a page of a session's log: at most `limit` records after `after`."""
        return self._loop.wait(self._client.records(session, after=after, limit=limit))

    def rest(
        self, method: str, path: str, body: object = None, query: Mapping[str, object] | None = None
    ) -> Any:
        """Sends any request that PROTOCOL.md lists. Returns the parsed answer."""
        return self._loop.wait(self._client.rest(method, path, body, query))


async def _next(changes: AsyncGenerator[T, None]) -> T | None:
    """Returns a generator's next item, or None after its end."""
    return await anext(changes, None)


class BlockingRoom:
    """Wraps :class:`thoughtwire.Room`, for iteration with ``for``.

    Made by :meth:`BlockingClient.attach`.
    """

    def __init__(self, loop: Loop, room: Room) -> None:
        self._loop = loop
        self._room = room
        self.session = room.session

    @property
    def cursor(self) -> Cursor | None:
        """Where to resume after a restart."""
        return self._room.cursor

    def send(
        self,
        text: str,
        *,
        policy: commands.Policy | None = None,
        attachments: Sequence[str] = (),
        id: str | None = None,
    ) -> frames.Ack:
        """Sends an input to the agent. Returns when the input is on disk."""
        return self._loop.wait(self._room.send(text, policy=policy, attachments=attachments, id=id))

    def ask(
        self,
        text: str,
        *,
        shown: Callable[[Shown], object] | None = None,
        policy: commands.Policy | None = None,
        attachments: Sequence[str] = (),
        id: str | None = None,
    ) -> Reply:
        """Sends an input, and waits for its turn's end; see :meth:`thoughtwire.Room.ask`.

        `shown` is called on the event loop's thread.
        """
        return self._loop.wait(
            self._room.ask(text, shown=shown, policy=policy, attachments=attachments, id=id)
        )

    def cancel(self, turn: str | None = None, *, id: str | None = None) -> None:
        """Cancels the running turn, or only `turn`."""
        self._loop.wait(self._room.cancel(turn, id=id))

    def withdraw(self, input: str, *, id: str | None = None) -> None:
        """Takes a queued input back."""
        self._loop.wait(self._room.withdraw(input, id=id))

    def decide(self, call: str, decision: commands.Verdict, *, id: str | None = None) -> None:
        """Approves or denies a call that waits for approval."""
        self._loop.wait(self._room.decide(call, decision, id=id))

    def tool_return(
        self,
        call: str,
        text: str,
        *,
        status: ToolStatus = "success",
        content: Any = None,
        id: str | None = None,
    ) -> None:
        """Returns the result of a call that waits for a client."""
        self._loop.wait(self._room.tool_return(call, text, status=status, content=content, id=id))

    def rename(self, title: str, *, id: str | None = None) -> None:
        """Gives the session a title."""
        self._loop.wait(self._room.rename(title, id=id))

    def leave(self) -> None:
        """Leaves the session."""
        self._loop.call(self._room.leave)

    def __iter__(self) -> "BlockingRoom":
        return self

    def __next__(self) -> Shown:
        try:
            return self._loop.wait(self._room.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None
