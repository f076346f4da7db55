"""A place in one session, across any number of connections."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from . import commands, events, frames
from .errors import ClosedError, RefusedError
from .events import ToolAwaited, ToolCalled, ToolReturned, ToolStatus
from .generated import ClientFrame
from .mailbox import Mailbox

if TYPE_CHECKING:
    from .client import Client

#: What lies unread before the server is asked to stop, and how little before it is asked to go on.
_FULL = 1_000
_LOW = 100
#: How long until a place is asked for again that was refused for the moment, in seconds.
_RETRY_AFTER = 1.0


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that this client runs when the agent calls it.

    `run` gets the arguments by name; what it gives is the result's text, what it raises is the error's.
    A plain function runs on a thread.
    """

    description: str
    run: Callable[..., str | Awaitable[str]]
    #: The JSON Schema of the arguments.
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where to resume: the last event that came in, and the log's lifetime."""

    seq: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Reset:
    """The cursor could not be honoured: throw away what you have of the session, all of it follows."""

    session: str
    epoch: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent answered to one input."""

    #: The turn that answered; none when the input was withdrawn before.
    turn: str | None
    outcome: events.Outcome | Literal["withdrawn"]
    #: The texts of the agent's messages in that turn.
    messages: tuple[str, ...]
    #: Why it did not complete, for programs and for people.
    code: str | None = None
    reason: str | None = None

    @property
    def text(self) -> str:
        """The messages as one text."""
        return "\n\n".join(self.messages)


#: What a room shows, in order.
Shown: TypeAlias = (
    frames.EventFrame
    | frames.Delta
    | frames.Partial
    | frames.Status
    | frames.Presence
    | frames.CaughtUp
    | Reset
)
_Phase: TypeAlias = Literal["apart", "attaching", "attached", "held", "over"]


class Room:
    """Iterate over it: every event comes once, in order; deltas and statuses come while the connection stands.

    Who reads slowly holds the server up, not the memory: beyond a thousand unread frames the client leaves
    the session, and comes back at its cursor when most of them are read. Leaving the loop leaves the room
    as it is: it may be iterated again. Made by :meth:`Client.attach`.
    """

    def __init__(
        self,
        session: str,
        client: "Client",
        write: Callable[[ClientFrame], None],
        left: Callable[[], None],
        *,
        after: int | None,
        epoch: str | None,
        last: int | None,
        tools: Mapping[str, Tool],
    ) -> None:
        self.session = session
        self._client = client
        self._write = write
        self._left = left
        self._seq = after
        self._epoch = epoch
        self._last = last
        self._tools = dict(tools)
        self._mailbox: Mailbox[Shown] = Mailbox()
        #: Open calls of this client's tools, and those of them that are to be run.
        self._calls: dict[str, ToolCalled] = {}
        self._awaited: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._caught_up = False
        self._phase: _Phase = "apart"

    @property
    def cursor(self) -> Cursor | None:
        """Where to go on after a restart: ``client.attach(session, cursor=cursor)``."""
        if self._seq is None or self._epoch is None:
            return None
        return Cursor(self._seq, self._epoch)

    async def send(
        self,
        text: str,
        *,
        policy: commands.Policy | None = None,
        attachments: Sequence[str] = (),
        id: str | None = None,
    ) -> frames.Ack:
        """Says something to the agent; returns when it is on disk."""
        command = commands.Send(
            session=self.session, text=text, policy=policy, attachments=tuple(attachments)
        )
        return await self._client.command(command, id=id)

    async def ask(
        self,
        text: str,
        *,
        shown: Callable[[Shown], object] | None = None,
        policy: commands.Policy | None = None,
        attachments: Sequence[str] = (),
        id: str | None = None,
    ) -> Reply:
        """Says something, and waits for the end of the turn that answers it.

        The end of another turn, of another client's input for example, is not taken for it. What the room
        shows meanwhile is read here, and handed to `shown`; nobody else should iterate over the room.

        :raises RefusedError: when the input is refused.
        :raises ClosedError: when the client is closed, or the session is gone.
        """
        if self._phase == "over":
            raise ClosedError("the room was left")
        ack = await self.send(text, policy=policy, attachments=attachments, id=id)
        answer = _Answer(ack)
        if ack.duplicate and ack.seq is not None:
            # The turn may be over, and the room behind it.
            for record in await self._client.records(self.session, after=ack.seq - 1, limit=1000):
                if reply := answer.take(record.seq, record.turn, record.event):
                    return reply
        async for one in self:
            if shown is not None:
                shown(one)
            if isinstance(one, frames.EventFrame):
                if reply := answer.take(one.seq, one.turn, one.event):
                    return reply
        raise ClosedError("the room was left before the answer had come")

    async def cancel(self, turn: str | None = None, *, id: str | None = None) -> None:
        """Ends the running turn; with `turn` only that one."""
        await self._client.command(commands.Cancel(session=self.session, turn=turn), id=id)

    async def withdraw(self, input: str, *, id: str | None = None) -> None:
        """Takes a queued input back."""
        await self._client.command(commands.Withdraw(session=self.session, input=input), id=id)

    async def decide(self, call: str, decision: commands.Verdict, *, id: str | None = None) -> None:
        """Settles an approval."""
        await self._client.command(
            commands.Decide(session=self.session, call=call, decision=decision), id=id
        )

    async def tool_return(
        self,
        call: str,
        text: str,
        *,
        status: ToolStatus = "success",
        content: Any = None,
        id: str | None = None,
    ) -> None:
        """Brings the result of a call that waits for a client; `tools` of :meth:`Client.attach` do so by themselves."""
        await self._client.command(
            commands.ToolReturn(
                session=self.session, call=call, status=status, text=text, content=content
            ),
            id=id,
        )

    async def rename(self, title: str, *, id: str | None = None) -> None:
        """Gives the session a title."""
        await self._client.command(commands.Rename(session=self.session, title=title), id=id)

    def leave(self) -> None:
        """Leaves the session. Iterating ends when what came in is read."""
        if self._phase in ("attached", "attaching"):
            self._write(commands.Detach(session=self.session))
        self._end()

    def __aiter__(self) -> "Room":
        return self

    async def __anext__(self) -> Shown:
        """The next that the room shows.

        :raises RefusedError: when the server will not have us here.
        :raises ClosedError: when the client is closed, or the session is gone.
        """
        shown = await self._mailbox.__anext__()
        if self._phase == "held" and len(self._mailbox) <= _LOW:
            self._phase = "apart"
            self._attach()
        return shown

    def _opened(self) -> None:
        """The connection stands."""
        if self._phase not in ("held", "over"):
            self._attach()

    def _attach(self) -> None:
        if self._client.state != "open":
            return
        self._phase = "attaching"
        self._caught_up = False
        resumes = self._seq is not None
        self._write(
            commands.Attach(
                # The session names the attach, so that a refusal finds its way here.
                id=self.session,
                session=self.session,
                after=self._seq,
                epoch=self._epoch if resumes else None,
                last=None if resumes else self._last,
                tools=tuple(
                    frames.ToolDeclaration(
                        name=name, description=tool.description, parameters=tool.parameters
                    )
                    for name, tool in self._tools.items()
                ),
            )
        )

    def _broke(self) -> None:
        """The connection broke."""
        if self._phase in ("attached", "attaching"):
            self._phase = "apart"

    def _refused(self, error: RefusedError) -> None:
        """The server will not have us here, or not now."""
        if not error.retry:
            return self._end(error)
        self._phase = "apart"

        def again() -> None:
            if self._phase == "apart":
                self._attach()

        asyncio.get_running_loop().call_later(_RETRY_AFTER, again)

    def _end(self, error: BaseException | None = None) -> None:
        if self._phase != "over":
            self._phase = "over"
            self._left()
            self._mailbox.end(error)

    def _heard(self, frame: frames.ServerFrame) -> None:
        """A frame of this session."""
        if isinstance(frame, frames.Detached):
            return self._end(ClosedError(frame.reason))
        # What is on its way from a place that we left would leave a gap.
        if self._phase != ("attaching" if isinstance(frame, frames.Attached) else "attached"):
            return None
        if isinstance(frame, frames.Attached):
            self._attached(frame)
        elif isinstance(frame, frames.EventFrame):
            # Twice the same position cannot be twice the same news.
            if self._seq is None or frame.seq > self._seq:
                self._seq = frame.seq
                self._run(frame)
                self._show(frame)
        elif isinstance(frame, frames.CaughtUp):
            self._caught_up = True
            self._run_awaited()
            self._show(frame)
        elif isinstance(frame, (frames.Delta, frames.Partial, frames.Status, frames.Presence)):
            self._show(frame)

    def _attached(self, frame: frames.Attached) -> None:
        if not frame.recovered or (self._epoch is not None and self._epoch != frame.epoch):
            self._seq = frame.first - 1
            self._mailbox.push(Reset(self.session, frame.epoch))
        elif self._seq is None:
            self._seq = (
                frame.head if self._last is None else max(frame.first - 1, frame.head - self._last)
            )
        self._epoch = frame.epoch
        self._phase = "attached"

    def _show(self, shown: Shown) -> None:
        self._mailbox.push(shown)
        if len(self._mailbox) >= _FULL:
            # What comes from now on is read later, from the log.
            self._phase = "held"
            self._write(commands.Detach(session=self.session))

    def _run(self, frame: frames.EventFrame) -> None:
        """Runs the calls of this client's tools, each when its time has come."""
        event = frame.event
        if isinstance(event, ToolCalled) and event.name in self._tools:
            self._calls[event.call] = event
        elif isinstance(event, ToolReturned):
            self._calls.pop(event.call, None)
            self._awaited.discard(event.call)
        elif isinstance(event, ToolAwaited) and event.call in self._calls:
            self._awaited.add(event.call)
            self._run_awaited()

    def _run_awaited(self) -> None:
        # What the log tells may have been answered long ago: a little further on stands whether it was.
        if not self._caught_up:
            return
        while self._awaited:
            task = asyncio.create_task(self._answer(self._calls[self._awaited.pop()]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, called: ToolCalled) -> None:
        run = self._tools[called.name].run
        status: ToolStatus = "success"
        try:
            if inspect.iscoroutinefunction(run):
                text = await run(**called.args)
            else:
                text = await asyncio.to_thread(run, **called.args)
        except Exception as error:
            status, text = "error", str(error) or type(error).__name__
        try:
            await self.tool_return(called.call, str(text), status=status)
        except (RefusedError, ClosedError):
            # Another client, or the clock, was first: there is nothing left to say.
            pass


class _Answer:
    """Follows one input from its acknowledgement to the end of its turn."""

    def __init__(self, ack: frames.Ack) -> None:
        self._seq = ack.seq
        self._input = ack.input
        self._turn: str | None = None
        self._messages: dict[int, tuple[str | None, str]] = {}
        self._last = 0

    def take(self, seq: int, turn: str | None, event: events.Event) -> Reply | None:
        """Takes the session's next event; gives the reply with the one that ends it."""
        if seq <= self._last:
            return None
        self._last = seq
        match event:
            case events.UserMessage() if seq == self._seq or event.item == self._input:
                self._input = event.item
                self._turn = turn or self._turn
                # It may have joined a running turn: what was said before was no answer to it.
                self._messages.clear()
            case events.TurnStarted() if event.input == self._input:
                self._turn = turn
            case events.Message():
                self._messages[seq] = (turn, event.text)
            case events.InputWithdrawn() if event.input == self._input:
                return Reply(None, "withdrawn", ())
            case events.TurnEnded() if event.input == self._input or (
                turn is not None and turn == self._turn
            ):
                said = tuple(text for of, text in self._messages.values() if of == turn)
                return Reply(turn, event.outcome, said, event.code, event.reason)
            case events.TurnEnded():
                # Another turn: of a queued input's own nothing has come yet.
                self._messages.clear()
            case _:
                pass
        return None
