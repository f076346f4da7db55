"""The interface through which an agent's function speaks in one turn."""

import inspect
import json
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Literal, NamedTuple

from . import call_once, checks, frames, verbs
from .errors import EndedError, RefusedError
from .events import Record, ToolStatus
from .turn import Turn


class Returned(NamedTuple):
    """The result of a client's tool."""

    status: ToolStatus
    text: str
    content: Any = None


class TurnContext:
    """The data that comes with a turn."""

    def __init__(self, turn: Turn, inputs: tuple[frames.Input, ...]) -> None:
        run = turn.run
        #: The inputs to answer: one, or all those that joined the running turn.
        self.inputs = inputs
        self.agent: str = run.agent
        self.session: str = run.session
        #: The turn's id.
        self.turn: str = run.turn
        #: The session's addition to the agent's persona.
        self.instructions = run.instructions
        #: The newest events before the turn, as many as the offer asks for. A resumed turn's own
        #: events are included.
        self.history: tuple[Record, ...] = run.history
        #: The position after which `history` is complete.
        self.after = run.after
        #: Core memory, if the offer asks for it.
        self.memory = run.memory
        #: Tools that attached clients run; see :meth:`Interface.client_runs`.
        self.client_tools = run.client_tools
        #: Permissions of those declared tools that are not simply allowed.
        self.permissions: Mapping[str, frames.Permission] = run.permissions or {}
        #: Whether another process had this turn before, and these inputs with it. False for inputs
        #: that joined the turn since.
        self.resumed = run.resumed and inputs == (run.input,)
        #: Number of interruptions of this turn that count against its limit; 0 for a first run.
        self.attempt: int = run.attempt or 0
        #: The open calls of a resumed turn about which the owner or a client was asked. Their
        #: answer comes from :meth:`Interface.approval` and :meth:`Interface.client_runs`, now or
        #: later. A call that a client has returned is closed, and its result is in `history`.
        self.waiting = run.waiting
        self._turn = turn

    @property
    def user_message(self) -> str:
        """The text of the inputs."""
        return "\n\n".join(input.text for input in self.inputs)

    @property
    def attachments(self) -> tuple[str, ...]:
        """References to the inputs' files."""
        return tuple(file for input in self.inputs for file in input.attachments)

    @property
    def so_far(self) -> tuple[Record, ...]:
        """The turn's own past events, in order: what earlier runs of it have said."""
        return tuple(record for record in self.history if record.turn == self.turn)

    @property
    def ended(self) -> bool:
        """Whether the turn has ended, for example by a cancel."""
        return self._turn.ended


class Interface(TurnContext):
    """Speaks for an agent in one turn.

    Verbs are sent in order. A verb that need not wait for the server returns at once; its refusal
    is raised by the next verb, or fails the turn. All verbs raise :class:`EndedError` when the turn
    has ended, and :class:`RefusedError` when the server refuses them. Invalid arguments raise at
    once, and nothing is sent: RefusedError with the code ``empty_text`` or ``too_large``,
    :class:`TypeError` or :class:`ValueError`.

    A call is named by its id, or by its entry in `waiting`.
    """

    async def internal_monologue(self, text: str, *, continues: str | None = None) -> str:
        """Sends a whole thought. Returns its item's id.

        :param continues: the item of a thought of :attr:`so_far` that was cut, and whose text this
            one continues. Clients show both as one.
        """
        item, text = _new_id(), checks.non_empty(text, "a thought")
        verb = verbs.SayInternalMonologue(id=item, turn=self.turn, text=text, continues=continues)
        self._turn.raise_refusal_later(await self._turn.say(verb))
        return item

    async def assistant_message(self, text: str, *, continues: str | None = None) -> str:
        """Sends a whole message. Returns its item's id.

        The result of the turn's function is sent as the last message.

        :param continues: the item of a message of :attr:`so_far` that was cut, and whose text this
            one continues. Clients show both as one.
        """
        item, text = _new_id(), checks.non_empty(text, "a message")
        verb = verbs.SayAssistantMessage(id=item, turn=self.turn, text=text, continues=continues)
        self._turn.raise_refusal_later(await self._turn.say(verb))
        return item

    async def function_message(self, text: str) -> None:
        """Sends a function message as MemGPT's agents do.

        Messages begin with ``Running``, ``Success:`` or ``Error:``. A call, as in
        ``Running NAME(ARGS)``, is on disk when this returns, and may run.
        """
        text = checks.text(text, "a function message")
        ack = await self._turn.say(
            verbs.SayFunctionMessage(id=_new_id(), turn=self.turn, text=text)
        )
        if text.startswith("Running "):
            await ack
        else:
            self._turn.raise_refusal_later(ack)

    async def tool_called(self, name: str, args: Mapping[str, Any] | None = None) -> str:
        """Announces a call. Returns its id when the call is on disk; now the tool may run.

        For a tool with the permission ``ask`` it returns once the owner has approved the call.

        :raises RefusedError: with the code ``forbidden`` when the agent's permissions deny the
            tool, when the owner denies the call, or when nobody approves it within an hour. The
            tool must not run. The server has closed the call: do not return it.
        """
        return await self._call(
            _new_id(), checks.non_empty(name, "a tool's name"), checks.arguments(args)
        )

    async def tool_returned(
        self,
        call: str | frames.Waiting,
        text: str,
        *,
        status: ToolStatus = "success",
        content: Any = None,
    ) -> None:
        """Sends the result of a call that does not wait for people or a client."""
        verb = verbs.SayToolReturned(
            id=_new_id(),
            turn=self.turn,
            call=checks.call_id(call),
            status=checks.status(status),
            text=checks.text(text, "a call's result"),
            content=content,
        )
        self._turn.raise_refusal_later(await self._turn.say(verb))

    async def call_once(
        self,
        name: str,
        args: Mapping[str, Any] | None,
        fn: Callable[[str], Any],
        replay: frames.Replay | None = None,
    ) -> Any:
        """Makes a call whose result a later run of the turn gets without making it again.

        Announces the call as :meth:`tool_called` does, runs `fn`, and sends its result. When the
        function starts over in a resumed turn, the n-th such call of a tool with equal arguments
        stands for the n-th one of the turn's past. Its result is returned, and `fn` is not run.

        :param fn: makes the call, and returns a str or a value of JSON. None counts as an empty
            text. Gets the call's id, which is the same in each run: an idempotency key. May be a
            coroutine function.
        :param replay: what happens to a call that ran when its worker was lost, so that its outcome
            is unknown. ``safe`` makes it again. ``ask`` asks the owner, within an hour, whether to
            make it again or what became of it. ``never`` does neither. Defaults to the class that
            the agent's `tools` declare, and to ``ask`` without one.
        :returns: the result, as a later run gets it.
        :raises CallFailed: when the call failed in an earlier run, with the error's text, or when
            the owner says that it failed. In the run in which `fn` raises an exception, that is
            raised as it is: the log has only its text.
        :raises OutcomeUnknown: when nobody knows whether the call took effect.
        :raises RefusedError: as `tool_called` does.
        """
        name, args = checks.non_empty(name, "a tool's name"), checks.arguments(args)
        begun = await call_once.begin(self._turn, name, args, replay)
        if isinstance(begun, call_once.Done):
            return begun.result
        try:
            result = fn(begun.call)
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:
            await call_once.failed(self._turn, begun.call, error)
            raise
        return await call_once.returned(self._turn, begun.call, result)

    async def approval(
        self, call: str | frames.Waiting, *, timeout: float | None = None
    ) -> Literal["approved", "denied", "expired"]:
        """Asks the owner to approve an open call, and waits for the decision.

        A call of a resumed turn that waits for approval already is not asked about again. For a
        tool with the permission ``ask`` the server has asked before, and the answer is
        ``approved``.

        :param timeout: a limit in seconds. Defaults to an hour.
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
        if decision == "done":
            raise RefusedError("unknown_call", f"call {call} is not open in this turn", False)
        return decision

    async def client_runs(
        self, call: str | frames.Waiting, *, timeout: float | None = None
    ) -> Returned:
        """Lets a client run an open call of one of :attr:`client_tools`, and waits for the result.

        The result is in the log already. A call of a resumed turn that waits for a client already
        is not requested again.

        :param timeout: a limit in seconds. Defaults to 2 minutes.
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

    def thought(self, *, continues: str | None = None) -> "StreamedItem":
        """Streams a thought in pieces; `continues` as for :meth:`internal_monologue`.

        >>> async def think(turn: Interface) -> None:
        ...     async with turn.thought() as thought:
        ...         await thought.write("Hm")
        ...         await thought.write(".")
        """
        return StreamedItem(self._turn, "thought", continues)

    def message(self, *, continues: str | None = None) -> "StreamedItem":
        """Streams a message in pieces; see :meth:`thought`."""
        return StreamedItem(self._turn, "message", continues)

    def call(self, name: str) -> "StreamedCall":
        """Streams the arguments of a call, a JSON object, in pieces. After the block it may run.

        >>> async def use(turn: Interface) -> None:
        ...     async with turn.call("calculator") as call:
        ...         await call.write('{"expression": ')
        ...         await call.write('"6*7"}')
        ...     await turn.tool_returned(call.item, str(6 * 7))
        """
        return StreamedCall(self, checks.non_empty(name, "a tool's name"))

    async def status(self, text: str) -> None:
        """Sends a progress note for people. It is not stored."""
        self._turn.status(checks.text(text, "a status"))

    async def usage(
        self, input_tokens: int, output_tokens: int, cached_tokens: int | None = None
    ) -> None:
        """Sends the turn's cost so far. The last one counts."""
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


class StreamedItem:
    """A thought or a message that is sent in pieces.

    The item is complete after the ``async with`` block, or after :meth:`end`. An exception in the
    block leaves the item incomplete: the turn's end cuts it off.
    """

    def __init__(self, turn: Turn, kind: frames.StreamKind, continues: str | None = None) -> None:
        self.item = _new_id()
        self.text = ""
        self._continues = continues
        self._turn = turn
        self._kind: frames.StreamKind = kind

    async def write(self, text: str) -> None:
        """Sends the next piece."""
        if checks.text(text, "a piece"):
            self._turn.delta(self.item, self._kind, text, self._continues)
            self.text += text
            await self._turn.writable()

    async def __aenter__(self) -> "StreamedItem":
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
        """Completes the item. An empty item is not sent, since texts are never empty."""
        if not self.text:
            return
        verb = verbs.SayInternalMonologue if self._kind == "thought" else verbs.SayAssistantMessage
        whole = verb(id=self.item, turn=self._turn.id, text=self.text, continues=self._continues)
        self._turn.raise_refusal_later(await self._turn.say(whole))


class StreamedCall(StreamedItem):
    """A call whose arguments are sent in pieces. `item` is the call's id."""

    def __init__(self, interface: Interface, name: str) -> None:
        super().__init__(interface._turn, "tool_args")
        self.name = name
        self._interface = interface

    async def __aenter__(self) -> "StreamedCall":
        return self

    async def end(self) -> None:
        """Announces the call. After that the tool may run."""
        args = json.loads(self.text or "{}")
        if not isinstance(args, dict):
            raise ValueError(f"the arguments of {self.name} must be a JSON object")
        await self._interface._call(self.item, self.name, args)


def _new_id() -> str:
    return str(uuid.uuid4())
