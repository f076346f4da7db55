"""How an agent speaks in one turn."""

import json
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, NamedTuple

from . import checks, frames, verbs
from .errors import EndedError
from .events import Record, ToolStatus
from .turn import Turn


class Returned(NamedTuple):
    """What a client's tool came back with."""

    status: ToolStatus
    text: str
    content: Any = None


class Told:
    """What a turn's program was told when it was handed the turn."""

    def __init__(self, turn: Turn, inputs: tuple[frames.Input, ...]) -> None:
        run = turn.run
        #: What to answer: one input, or those that joined the running turn, together.
        self.inputs = inputs
        self.agent: str = run.agent
        self.session: str = run.session
        #: The turn's id.
        self.turn: str = run.turn
        #: What this session adds to the agent's persona.
        self.instructions = run.instructions
        #: The newest events before the turn, as many as were asked for; in a resumed turn its own as well.
        self.history: tuple[Record, ...] = run.history
        #: The position behind which `history` is whole.
        self.after = run.after
        #: Core memory, where it was asked for.
        self.memory = run.memory
        #: Tools that attached clients run; see :meth:`Interface.client_runs`.
        self.client_tools = run.client_tools
        #: Of the declared tools those that are not allowed outright.
        self.permissions: Mapping[str, frames.Permission] = run.permissions or {}
        #: Whether another process had this turn before.
        self.resumed = run.resumed
        #: The open calls of a resumed turn about which people or clients were asked, answered or not:
        #: :meth:`Interface.approval` and :meth:`Interface.client_runs` give the answer when it is there.
        #: What a client brought has closed its call: `history` has it.
        self.waiting = run.waiting
        self._turn = turn

    @property
    def user_message(self) -> str:
        """What the agent was told."""
        return "\n\n".join(input.text for input in self.inputs)

    @property
    def attachments(self) -> tuple[str, ...]:
        """References to files that came along."""
        return tuple(file for input in self.inputs for file in input.attachments)

    @property
    def ended(self) -> bool:
        """Whether the turn has ended, because it was cancelled for example."""
        return self._turn.ended


class Interface(Told):
    """An agent's voice in one turn.

    Everything is said in order. What needs not wait for the server does not: a no to it is raised by the
    next verb, and before the turn's end. All verbs raise :class:`EndedError` when the turn has ended, and
    :class:`RefusedError` when the server says no. What would be refused in any case says nothing, and raises
    at once: RefusedError with the code ``empty_text`` or ``too_large``, :class:`TypeError`, :class:`ValueError`.

    A call is named by its id, or by what `waiting` has of it.
    """

    async def internal_monologue(self, text: str) -> str:
        """Says a whole thought; gives its item."""
        item, text = _new_id(), checks.words(text, "a thought")
        self._turn.let_go(
            await self._turn.say(verbs.SayInternalMonologue(id=item, turn=self.turn, text=text))
        )
        return item

    async def assistant_message(self, text: str) -> str:
        """Says a whole message; gives its item. What the turn's function returns is the last one."""
        item, text = _new_id(), checks.words(text, "a message")
        self._turn.let_go(
            await self._turn.say(verbs.SayAssistantMessage(id=item, turn=self.turn, text=text))
        )
        return item

    async def function_message(self, text: str) -> None:
        """Says a line as MemGPT's agents give it: ``Running NAME(ARGS)``, ``Success: …``, ``Error: …``.

        A call has been written when this returns, and may run.
        """
        text = checks.text(text, "a function message")
        ack = await self._turn.say(
            verbs.SayFunctionMessage(id=_new_id(), turn=self.turn, text=text)
        )
        if text.startswith("Running "):
            await ack
        else:
            self._turn.let_go(ack)

    async def tool_called(self, name: str, args: Mapping[str, Any] | None = None) -> str:
        """Says that a tool is about to run; gives the call's id when that is on disk: it may run then.

        For a tool with the permission ``ask`` it returns once the owner has approved the call.

        :raises RefusedError: with the code ``forbidden`` when the agent's permissions deny the tool, when the
            owner denied the call, or when nobody approved it within an hour. The tool must not run. The server
            has closed the call: do not return it.
        """
        return await self._call(
            _new_id(), checks.words(name, "a tool's name"), checks.arguments(args)
        )

    async def tool_returned(
        self,
        call: str | frames.Waiting,
        text: str,
        *,
        status: ToolStatus = "success",
        content: Any = None,
    ) -> None:
        """Says what a call came back with. One that waits is returned by people and clients alone."""
        verb = verbs.SayToolReturned(
            id=_new_id(),
            turn=self.turn,
            call=checks.call_id(call),
            status=checks.status(status),
            text=checks.text(text, "a call's result"),
            content=content,
        )
        self._turn.let_go(await self._turn.say(verb))

    async def approval(
        self, call: str | frames.Waiting, *, timeout: float | None = None
    ) -> Literal["approved", "denied", "expired"]:
        """Asks the owner's leave for an open call, and waits for the answer.

        A call of a resumed turn that waits for leave already is only waited for. For a tool with the permission
        ``ask`` the server has asked at the call, so that this gives ``approved`` at once.

        :param timeout: in seconds; the server waits for an hour unless told.
        """
        call, timeout_ms = checks.call_id(call), checks.milliseconds(timeout)
        if not self._turn.is_asked(call, "approval"):
            await (
                await self._turn.say(
                    verbs.SayApproval(
                        id=_new_id(), turn=self.turn, call=call, timeout_ms=timeout_ms
                    )
                )
            )
        decision = (await self._turn.settled(call)).decision
        if decision == "void":
            raise EndedError("the turn has ended")
        return decision

    async def client_runs(
        self, call: str | frames.Waiting, *, timeout: float | None = None
    ) -> Returned:
        """Has a client run an open call of one of :attr:`client_tools`, and waits for the result.

        The server has written the result already. A call of a resumed turn that waits for a client
        already is only waited for.

        :param timeout: in seconds; the server waits for 2 minutes unless told.
        """
        call, timeout_ms = checks.call_id(call), checks.milliseconds(timeout)
        if not self._turn.is_asked(call, "client"):
            await (
                await self._turn.say(
                    verbs.SayClientRuns(
                        id=_new_id(), turn=self.turn, call=call, timeout_ms=timeout_ms
                    )
                )
            )
        returned = await self._turn.returned(call)
        return Returned(returned.status, returned.text, returned.content)

    def thought(self) -> "Streamed":
        """A thought that is said in pieces.

        >>> async def think(turn: Interface) -> None:
        ...     async with turn.thought() as thought:
        ...         await thought.write("Hm")
        ...         await thought.write(".")
        """
        return Streamed(self._turn, "thought")

    def message(self) -> "Streamed":
        """A message that is said in pieces; like :meth:`thought`."""
        return Streamed(self._turn, "message")

    def call(self, name: str) -> "StreamedCall":
        """A call whose arguments, a JSON object, are said in pieces. Behind the block it may run.

        >>> async def use(turn: Interface) -> None:
        ...     async with turn.call("calculator") as call:
        ...         await call.write('{"expression": ')
        ...         await call.write('"6*7"}')
        ...     await turn.tool_returned(call.item, str(6 * 7))
        """
        return StreamedCall(self, checks.words(name, "a tool's name"))

    async def status(self, text: str) -> None:
        """Says what goes on, for people. It is not kept."""
        self._turn.status(checks.text(text, "a status"))

    async def usage(
        self, input_tokens: int, output_tokens: int, cached_tokens: int | None = None
    ) -> None:
        """Says what the turn cost so far. The last one counts."""
        self._turn.usage(
            verbs.SayUsage(
                turn=self.turn,
                input_tokens=checks.count(input_tokens, "a number of tokens"),
                output_tokens=checks.count(output_tokens, "a number of tokens"),
                cached_tokens=None
                if cached_tokens is None
                else checks.count(cached_tokens, "a number of tokens"),
            )
        )

    async def _call(self, item: str, name: str, args: dict[str, Any]) -> str:
        await (
            await self._turn.say(verbs.SayToolCalled(id=item, turn=self.turn, name=name, args=args))
        )
        return item


class Streamed:
    """A thought or a message that is said in pieces.

    The whole is said behind the block, or by :meth:`end` where there is none. A block that is left by an
    exception says no whole: what had arrived is cut off there when the turn ends.
    """

    def __init__(self, turn: Turn, kind: frames.StreamKind) -> None:
        self.item = _new_id()
        self.text = ""
        self._turn = turn
        self._kind: frames.StreamKind = kind

    async def write(self, text: str) -> None:
        """Says the next piece."""
        if checks.text(text, "a piece"):
            self._turn.delta(self.item, self._kind, text)
            self.text += text
            await self._turn.spacious()

    async def __aenter__(self) -> "Streamed":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.end()

    async def end(self) -> None:
        """Says the whole; of no words nothing, since a message or thought is never empty."""
        if not self.text:
            return
        verb = verbs.SayInternalMonologue if self._kind == "thought" else verbs.SayAssistantMessage
        self._turn.let_go(
            await self._turn.say(verb(id=self.item, turn=self._turn.id, text=self.text))
        )


class StreamedCall(Streamed):
    """A call whose arguments are said in pieces; `item` is the call's id."""

    def __init__(self, interface: Interface, name: str) -> None:
        super().__init__(interface._turn, "tool_args")
        self.name = name
        self._interface = interface

    async def __aenter__(self) -> "StreamedCall":
        return self

    async def end(self) -> None:
        """Says the call; it may run then."""
        args = json.loads(self.text or "{}")
        if not isinstance(args, dict):
            raise ValueError(f"the arguments of {self.name} must be a JSON object")
        await self._interface._call(self.item, self.name, args)


def _new_id() -> str:
    return str(uuid.uuid4())
