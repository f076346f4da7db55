"""One turn's voice: what its program has said, and what the server has acknowledged of it."""

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, MutableMapping
from typing import Literal, TypeAlias

from . import codec, events, frames, verbs
from .errors import EndedError, RefusedError
from .line import Line
from .open_calls import OpenCalls

log = logging.getLogger("thoughtwire")

#: What ends a call's waiting.
_ANSWERED_BY = {"approval": frames.CallSettled.type, "client": frames.CallReturned.type}

_Answer: TypeAlias = "asyncio.Future[frames.CallSettled | frames.CallReturned]"


class Turn:
    """Keeps what was said until it is acknowledged, so that it can be said again on another connection.

    Invariant: what is not acknowledged stands in `_unheard` in the order in which it was said, and goes
    out in that order on every connection.
    """

    def __init__(
        self,
        run: frames.Run,
        line: Line,
        window: asyncio.Semaphore,
        asked: MutableMapping[str, "Turn"],
        waits: Callable[[], None],
    ) -> None:
        self.id = run.turn
        self.run = run
        #: The turn has ended: nothing more can be said in it.
        self.ended = False
        self._line = line
        #: How many verbs may be unacknowledged, over all turns of a connection.
        self._window = window
        #: Whose the answer to a verb is, over all turns of a connection.
        self._asked = asked
        #: Called whenever its function begins to wait for people or clients.
        self._begins_to_wait = waits
        self._calls = OpenCalls(run.waiting)
        #: What its function waits for now.
        self._awaited: list[_Answer] = []
        # Verbs by their id, deltas by their item and number.
        self._unheard: dict[str | tuple[str, int], str] = {}
        self._acks: dict[str, asyncio.Future[frames.Ack]] = {}
        #: Those of them that are calls which the server acknowledges once they are approved.
        self._held: set[str] = set()
        #: How many deltas each open item has.
        self._pieces: dict[str, int] = {}
        self._usage: verbs.SayUsage | None = None
        # One may come before somebody waits for it: in a turn that another process began.
        self._answers: defaultdict[tuple[str, str], _Answer] = defaultdict(
            asyncio.get_running_loop().create_future
        )
        for one in run.waiting:
            self._answers[one.call, _ANSWERED_BY[one.awaits]]
        # Another process asked, and it was answered in between: who asks again has the answer at once.
        for answer in _answers(run):
            self.answered(answer)
        self._refused: RefusedError | None = None
        #: Said on this connection, as opposed to kept for the next.
        self._live = True

    async def say(self, verb: verbs.AcknowledgedSay) -> "asyncio.Future[frames.Ack]":
        """Says a verb; what it gives can be waited for, and needs not be.

        :raises EndedError: when the turn has ended.
        :raises RefusedError: when an earlier verb that nobody waited for was refused.
        """
        wire = codec.encode(verb)
        self._may_speak()
        self._line.check(wire)
        self._calls.check(verb)
        await self._window.acquire()
        if self.ended:
            self._window.release()
            raise EndedError("the turn has ended")
        # The whole supersedes its pieces.
        for n in range(self._pieces.pop(verb.id, 0)):
            self._unheard.pop((verb.id, n), None)
        ack: asyncio.Future[frames.Ack] = asyncio.get_running_loop().create_future()
        self._acks[verb.id] = ack
        self._asked[verb.id] = self
        self._calls.said(verb)
        self._write(verb.id, wire)
        if (
            isinstance(verb, verbs.SayToolCalled)
            and (self.run.permissions or {}).get(verb.name) == "ask"
        ):
            self._held.add(verb.id)
            self._calls.waits(verb.id)
            self._begins_to_wait()
        return ack

    async def fail(self, reason: str, code: str | None) -> None:
        """Says the turn's end, whatever was refused before, and waits until that is on disk."""
        self._refused = None
        await (
            await self.say(
                verbs.SayFail(id=str(uuid.uuid4()), turn=self.id, code=code, reason=reason)
            )
        )

    def let_go(self, ack: "asyncio.Future[frames.Ack]") -> None:
        """Nobody waits for this answer: a no is told by the next verb."""

        def answered(ack: "asyncio.Future[frames.Ack]") -> None:
            error = None if ack.cancelled() else ack.exception()
            if isinstance(error, RefusedError) and self._refused is None:
                self._refused = error

        ack.add_done_callback(answered)

    def delta(self, item: str, kind: frames.StreamKind, text: str) -> None:
        """Says a piece of an item; see :meth:`spacious`."""
        self._may_speak()
        n = self._pieces.get(item, 0)
        wire = codec.encode(verbs.SayDelta(turn=self.id, item=item, n=n, kind=kind, text=text))
        self._line.check(wire)
        self._pieces[item] = n + 1
        self._write((item, n), wire)

    async def spacious(self) -> None:
        """Is held up while much waits to be written."""
        await self._line.spacious()

    def status(self, text: str) -> None:
        """Says what goes on, if there is a connection to say it on."""
        self._may_speak()
        if self._live:
            self._line.write(verbs.SayStatus(turn=self.id, text=text))

    def usage(self, usage: verbs.SayUsage) -> None:
        """Says what the turn cost so far; the last one counts."""
        self._may_speak()
        self._usage = usage
        if self._live:
            self._line.write(usage)

    def is_asked(self, call: str, awaits: Literal["approval", "client"]) -> bool:
        """Whether people or a client have a call already, or their answer has come and nobody has taken it."""
        return (call, _ANSWERED_BY[awaits]) in self._answers

    async def settled(self, call: str) -> frames.CallSettled:
        """Waits for what people make of a call."""
        settled = await self._answer(call, frames.CallSettled.type)
        assert isinstance(settled, frames.CallSettled)
        return settled

    async def returned(self, call: str) -> frames.CallReturned:
        """Waits for what a client makes of a call."""
        returned = await self._answer(call, frames.CallReturned.type)
        assert isinstance(returned, frames.CallReturned)
        return returned

    async def _answer(self, call: str, type: str) -> frames.CallSettled | frames.CallReturned:
        self._may_speak()
        answer = self._answers[call, type]
        if not answer.done():
            self._calls.waits(call)
        self._awaited.append(answer)
        self._begins_to_wait()
        try:
            # Whoever stops to wait for it may ask for it again.
            answered = await asyncio.shield(answer)
            self._answers.pop((call, type), None)
            return answered
        finally:
            self._awaited.remove(answer)

    @property
    def waits(self) -> bool:
        """Whether it merely waits for people and clients: another process may wait as well."""
        awaits = bool(self._held) or any(not answer.done() for answer in self._awaited)
        return awaits and self._held.issuperset(self._acks) and self._calls.all_wait

    async def drained(self) -> None:
        """Waits until everything that was said is acknowledged.

        :raises RefusedError: when something was refused that nobody waited for.
        """
        await asyncio.gather(*self._acks.values(), return_exceptions=True)
        self._may_speak()

    # What the server says.

    def acknowledged(self, frame: frames.Ack | frames.Refused) -> None:
        """The answer to a verb."""
        if isinstance(frame, frames.Refused) and frame.code == "stopping":
            # Not taken, and not for good: it is said again when the server is back.
            return
        ack = self._forget(frame.id or "")
        if ack is None or ack.done():
            return
        if isinstance(frame, frames.Ack):
            self._calls.acknowledged(frame.id or "")
            ack.set_result(frame)
            return
        self._calls.refused(frame.id or "")
        if frame.code == "no_turn":
            ack.set_exception(EndedError(frame.reason))
        else:
            ack.set_exception(RefusedError(frame.code, frame.reason, frame.retry))

    def answered(self, frame: frames.CallSettled | frames.CallReturned) -> None:
        """What people or a client made of a call."""
        self._calls.answered(frame)
        answer = self._answers[frame.call, frame.type]
        if not answer.done():
            answer.set_result(frame)

    def broke(self) -> None:
        """The connection broke: what is said now is kept for the next."""
        self._live = False

    def resumed(self, run: frames.Run) -> None:
        """The turn goes on, on this connection: says again what was not acknowledged."""
        self._live = True
        if self._usage is not None:
            self._line.write(self._usage)
        arrived = run.open or {}
        for key, wire in [*self._unheard.items()]:
            if isinstance(key, str) or key[1] >= arrived.get(key[0], 0):
                self._write(key, wire)
        # What was settled while there was no connection to tell it on.
        for answer in _answers(run):
            self.answered(answer)

    def end(self, reason: str) -> None:
        """The turn has ended: whoever waits in it learns so."""
        self.ended = True
        for id in [*self._acks]:
            ack = self._forget(id)
            if ack is not None and not ack.done():
                ack.set_exception(EndedError(reason))
                # Where nobody waits, nobody misses it.
                ack.exception()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(EndedError(reason))
                answer.exception()

    def _may_speak(self) -> None:
        if self.ended:
            raise EndedError("the turn has ended")
        if self._refused is not None:
            refused, self._refused = self._refused, None
            raise refused

    def _write(self, key: str | tuple[str, int], wire: str) -> None:
        self._unheard[key] = wire
        if self._live:
            try:
                self._line.write_wire(wire)
            except RefusedError as refused:
                self._too_large(key, refused)

    def _too_large(self, key: str | tuple[str, int], refused: RefusedError) -> None:
        if isinstance(key, str):
            ack = self._forget(key)
            if ack is not None and not ack.done():
                ack.set_exception(refused)
        else:
            # The item's whole will be refused as well, and says so.
            self._unheard.pop(key)

    def _forget(self, id: str) -> "asyncio.Future[frames.Ack] | None":
        self._unheard.pop(id, None)
        self._asked.pop(id, None)
        self._held.discard(id)
        ack = self._acks.pop(id, None)
        if ack is not None:
            self._window.release()
        return ack


def _answers(run: frames.Run) -> Iterable[frames.CallSettled | frames.CallReturned]:
    """What people and clients made of a turn's calls, as its history tells; of one asked again, nothing yet."""
    answers: dict[str, frames.CallSettled | frames.CallReturned] = {}
    returns: list[frames.CallReturned] = []
    for record in run.history:
        event = record.event
        if record.turn != run.turn:
            continue
        if isinstance(event, events.ApprovalAsked):
            answers.pop(event.call, None)
        elif isinstance(event, events.ApprovalSettled):
            answers[event.call] = frames.CallSettled(
                turn=run.turn, call=event.call, decision=event.decision
            )
        elif isinstance(event, events.ToolReturned):
            returns.append(
                frames.CallReturned(
                    turn=run.turn,
                    call=event.call,
                    status=event.status,
                    text=event.text,
                    content=event.content,
                )
            )
    return [*answers.values(), *returns]
