"""A client's place in one session, which outlives its connections."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from . import commands, frames
from .errors import ClosedError, RefusedError
from .events import ToolAwaited, ToolCalled, ToolReturned, ToolStatus
from .generated import ClientFrame
from .mailbox import Mailbox
from .reply import Reply, ReplyCollector

if TYPE_CHECKING:
    from .client import Client

#: Numbers of unread frames at which the client leaves the session, and comes back to it.
_HIGH_WATER = 1_000
_LOW_WATER = 100
#: Time until an attach that was refused for the moment is repeated, in seconds.
_RETRY_AFTER = 1.0


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that this client runs when the agent calls it.

    `run` gets the arguments by name. Its result is the text of the call's result, and its exception
    the text of the call's error. A plain function runs on a thread.
    """

    description: str
    run: Callable[..., str | Awaitable[str]]
    #: The JSON Schema of the arguments.
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position to resume from: the last event that was read, and the log's lifetime."""

    seq: int
    epoch: str


@dataclass(frozen=True, slots=True)
class Reset:
    """The cursor is not valid any more. Discard the session's events; all of them follow."""

    session: str
    epoch: str


#: What a room yields, in order.
Shown: TypeAlias = (
    frames.EventFrame
    | frames.Delta
    | frames.Partial
    | frames.Status
    | frames.Presence
    | frames.CaughtUp
    | Reset
)
#: ``paused`` is while too many frames are unread, ``over`` for good.
_Phase: TypeAlias = Literal["detached", "attaching", "attached", "paused", "over"]


class Room:
    """A session to iterate over. Every event comes once and in order.

    Deltas and statuses come while the connection is open. Made by :meth:`Client.attach`.

    A slow reader costs no memory. Beyond a thousand unread frames the client leaves the session,
    and comes back at its cursor when most of them are read. Leaving the loop does not leave the
    room: it can be iterated again.
    """

    def __init__(
        self,
        session: str,
        client: "Client",
        write: Callable[[ClientFrame], None],
        on_end: Callable[[], None],
        *,
        after: int | None,
        epoch: str | None,
        last: int | None,
        tools: Mapping[str, Tool],
    ) -> None:
        self.session = session
        self._client = client
        self._write = write
        self._on_end = on_end
        self._seq = after
        self._epoch = epoch
        self._last = last
        self._tools = dict(tools)
        self._mailbox: Mailbox[Shown] = Mailbox()
        #: Open calls of this client's tools, and those of them that the server wants to be run.
        self._calls: dict[str, ToolCalled] = {}
        self._awaited: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._caught_up = False
        self._phase: _Phase = "detached"

    @property
    def cursor(self) -> Cursor | None:
        """Where to resume after a restart: ``client.attach(session, cursor=cursor)``."""
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
        """Sends an input to the agent. Returns when the input is on disk."""
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
        """Sends an input, and waits for the end of the turn that answers it.

        Other turns of the session may end before. This method reads the room, and passes what it
        yields to `shown`; nobody else should iterate over the room at the same time.

        :raises RefusedError: when the input is refused.
        :raises ClosedError: when the client is closed, or the session is deleted.
        """
        if self._phase == "over":
            raise ClosedError("the room was left")
        ack = await self.send(text, policy=policy, attachments=attachments, id=id)
        reply = ReplyCollector(ack)
        if ack.duplicate and ack.seq is not None:
            # The turn may be over, and this room past it.
            for record in await self._client.records(self.session, after=ack.seq - 1, limit=1000):
                if complete := reply.take(record.seq, record.turn, record.event):
                    return complete
        async for one in self:
            if shown is not None:
                shown(one)
            if isinstance(one, frames.EventFrame) and (
                complete := reply.take(one.seq, one.turn, one.event)
            ):
                return complete
        raise ClosedError("the room was left before the turn ended")

    async def cancel(self, turn: str | None = None, *, id: str | None = None) -> None:
        """Cancels the running turn, or only `turn`."""
        await self._client.command(commands.Cancel(session=self.session, turn=turn), id=id)

    async def withdraw(self, input: str, *, id: str | None = None) -> None:
        """Takes a queued input back."""
        await self._client.command(commands.Withdraw(session=self.session, input=input), id=id)

    async def decide(
        self,
        call: str,
        decision: commands.Verdict,
        *,
        result: str | None = None,
        id: str | None = None,
    ) -> None:
        """Approves or denies a call that waits for approval.

        A call that was interrupted may have taken effect (`about` of its `approval_asked` is
        `retry`). "approved" runs it again, "denied" counts it as failed, and "done" says that it
        was made, with its `result` if that is known.
        """
        command = commands.Decide(session=self.session, call=call, decision=decision, result=result)
        await self._client.command(command, id=id)

    async def tool_return(
        self,
        call: str,
        text: str,
        *,
        status: ToolStatus = "success",
        content: Any = None,
        id: str | None = None,
    ) -> None:
        """Returns the result of a call that waits for a client.

        The `tools` of :meth:`Client.attach` return their results by themselves.
        """
        command = commands.ToolReturn(
            session=self.session, call=call, status=status, text=text, content=content
        )
        await self._client.command(command, id=id)

    async def rename(self, title: str, *, id: str | None = None) -> None:
        """Gives the session a title."""
        await self._client.command(commands.Rename(session=self.session, title=title), id=id)

    def leave(self) -> None:
        """Leaves the session. Iteration ends after the frames that came before."""
        if self._phase in ("attached", "attaching"):
            self._write(commands.Detach(session=self.session))
        self._end()

    def __aiter__(self) -> "Room":
        return self

    async def __anext__(self) -> Shown:
        """Returns the next item of the room.

        :raises RefusedError: when the server refuses to attach this client.
        :raises ClosedError: when the client is closed, or the session is deleted.
        """
        shown = await self._mailbox.__anext__()
        if self._phase == "paused" and len(self._mailbox) <= _LOW_WATER:
            self._phase = "detached"
            self._attach()
        return shown

    # Called by the client.

    def _connected(self) -> None:
        if self._phase not in ("paused", "over"):
            self._attach()

    def _disconnected(self) -> None:
        if self._phase in ("attached", "attaching"):
            self._phase = "detached"

    def _refused(self, error: RefusedError) -> None:
        """Handles a refused attach: for good, or for the moment."""
        if not error.retry:
            self._end(error)
            return
        self._phase = "detached"

        def retry() -> None:
            if self._phase == "detached":
                self._attach()

        asyncio.get_running_loop().call_later(_RETRY_AFTER, retry)

    def _end(self, error: BaseException | None = None) -> None:
        if self._phase != "over":
            self._phase = "over"
            self._on_end()
            self._mailbox.end(error)

    def _received(self, frame: frames.ServerFrame) -> None:
        """Handles a frame of this session."""
        if isinstance(frame, frames.Detached):
            self._end(ClosedError(frame.reason))
            return
        # Frames of an attachment that was left would leave a gap.
        if self._phase != ("attaching" if isinstance(frame, frames.Attached) else "attached"):
            return
        if isinstance(frame, frames.Attached):
            self._attached(frame)
        elif isinstance(frame, frames.EventFrame):
            # A position that was read before is a duplicate.
            if self._seq is None or frame.seq > self._seq:
                self._seq = frame.seq
                self._run_tools(frame)
                self._show(frame)
        elif isinstance(frame, frames.CaughtUp):
            self._caught_up = True
            self._run_awaited()
            self._show(frame)
        elif isinstance(frame, (frames.Delta, frames.Partial, frames.Status, frames.Presence)):
            self._show(frame)

    def _attach(self) -> None:
        if self._client.state != "open":
            return
        self._phase = "attaching"
        self._caught_up = False
        resumes = self._seq is not None
        tools = (
            frames.ToolDeclaration(
                name=name, description=tool.description, parameters=tool.parameters
            )
            for name, tool in self._tools.items()
        )
        self._write(
            commands.Attach(
                # The session's id is the command's, so that a refusal is routed to this room.
                id=self.session,
                session=self.session,
                after=self._seq,
                epoch=self._epoch if resumes else None,
                last=None if resumes else self._last,
                tools=tuple(tools),
            )
        )

    def _attached(self, frame: frames.Attached) -> None:
        if not frame.recovered or (self._epoch is not None and self._epoch != frame.epoch):
            self._seq = frame.first - 1
            self._mailbox.push(Reset(self.session, frame.epoch))
        elif self._seq is None and self._last is None:
            self._seq = frame.head
        elif self._seq is None and self._last is not None:
            self._seq = max(frame.first - 1, frame.head - self._last)
        self._epoch = frame.epoch
        self._phase = "attached"

    def _show(self, shown: Shown) -> None:
        self._mailbox.push(shown)
        if len(self._mailbox) >= _HIGH_WATER:
            # Events from now on are read later, from the log.
            self._phase = "paused"
            self._write(commands.Detach(session=self.session))

    def _run_tools(self, frame: frames.EventFrame) -> None:
        """Runs a call of this client's tools when the server waits for a client."""
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
        # A call in the log may have been answered long ago. Later events tell whether it was.
        if not self._caught_up:
            return
        while self._awaited:
            task = asyncio.create_task(self._run_call(self._calls[self._awaited.pop()]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run_call(self, called: ToolCalled) -> None:
        run = self._tools[called.name].run
        status: ToolStatus = "success"
        try:
            if inspect.iscoroutinefunction(run):
                text = await run(**called.args)
            else:
                text = await asyncio.to_thread(run, **called.args)
        except Exception as error:
            status, text = "error", str(error) or type(error).__name__
        # Another client, or the time limit, may have been first. Then there is nothing to return.
        with suppress(RefusedError, ClosedError):
            await self.tool_return(called.call, str(text), status=status)
