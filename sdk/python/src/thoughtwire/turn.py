"""One turn's voice: what its program has said, and what the server has acknowledged of it."""

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import MutableMapping
from typing import TypeAlias

from . import codec, events, frames, verbs
from .errors import EndedError, RefusedError
from .line import Line

log = logging.getLogger("thoughtwire")

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
        # Verbs by their id, deltas by their item and number.
        self._unheard: dict[str | tuple[str, int], str] = {}
        self._acks: dict[str, asyncio.Future[frames.Ack]] = {}
        #: How many deltas each open item has.
        self._pieces: dict[str, int] = {}
        self._usage: verbs.Usage | None = None
        # One may come before somebody waits for it: in a turn that another process began.
        self._answers: defaultdict[tuple[str, str], _Answer] = defaultdict(
            asyncio.get_running_loop().create_future
        )
        self._refused: RefusedError | None = None
        #: Said on this connection, as opposed to kept for the next.
        self._live = True

    async def say(self, verb: verbs.Verb) -> "asyncio.Future[frames.Ack]":
        """Says a verb; what it gives can be waited for, and needs not be.

        :raises EndedError: when the turn has ended.
        :raises RefusedError: when an earlier verb that nobody waited for was refused.
        """
        wire = codec.encode(verb)
        self._may_speak()
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
        self._write(verb.id, wire)
        return ack

    async def fail(self, reason: str, code: str | None) -> None:
        """Says the turn's end, whatever was refused before, and waits until that is on disk."""
        self._refused = None
        await (await self.say(verbs.Fail(id=str(uuid.uuid4()), turn=self.id, code=code, reason=reason)))

    def let_go(self, ack: "asyncio.Future[frames.Ack]") -> None:
        """Nobody waits for this answer: a no is told by the next verb."""

        def answered(ack: "asyncio.Future[frames.Ack]") -> None:
            error = None if ack.cancelled() else ack.exception()
            if isinstance(error, RefusedError) and self._refused is None:
                self._refused = error

        ack.add_done_callback(answered)

    async def delta(self, item: str, kind: frames.StreamKind, text: str) -> None:
        """Says a piece of an item; is held up while much waits to be written."""
        self._may_speak()
        n = self._pieces.get(item, 0)
        wire = codec.encode(verbs.Delta(turn=self.id, item=item, n=n, kind=kind, text=text))
        self._pieces[item] = n + 1
        self._write((item, n), wire)
        await self._line.spacious()

    def status(self, text: str) -> None:
        """Says what goes on, if there is a connection to say it on."""
        self._may_speak()
        if self._live:
            self._line.write(verbs.Status(turn=self.id, text=text))

    def usage(self, usage: verbs.Usage) -> None:
        """Says what the turn cost so far; the last one counts."""
        self._may_speak()
        self._usage = usage
        if self._live:
            self._line.write(usage)

    async def settled(self, call: str) -> frames.CallSettled:
        """Waits for what people make of a call."""
        self._may_speak()
        settled = await self._answers[call, frames.CallSettled.type]
        assert isinstance(settled, frames.CallSettled)
        return settled

    async def returned(self, call: str) -> frames.CallReturned:
        """Waits for what a client makes of a call."""
        self._may_speak()
        returned = await self._answers[call, frames.CallReturned.type]
        assert isinstance(returned, frames.CallReturned)
        return returned

    async def drained(self) -> None:
        """Waits until everything that was said is acknowledged.

        :raises RefusedError: when something was refused that nobody waited for.
        """
        await asyncio.gather(*self._acks.values(), return_exceptions=True)
        self._may_speak()

    # What the server says.

    def acknowledged(self, frame: frames.Ack | frames.Refused) -> None:
        """The answer to a verb."""
        ack = self._forget(frame.id or "")
        if ack is None or ack.done():
            return
        if isinstance(frame, frames.Ack):
            ack.set_result(frame)
        elif frame.code == "no_turn":
            ack.set_exception(EndedError(frame.reason))
        else:
            ack.set_exception(RefusedError(frame.code, frame.reason, frame.retry))

    def answered(self, frame: frames.CallSettled | frames.CallReturned) -> None:
        """What people or a client made of a call."""
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
        for record in run.history:
            event = record.event
            if record.turn != self.id:
                continue
            if isinstance(event, events.ApprovalSettled):
                self.answered(frames.CallSettled(turn=self.id, call=event.call, decision=event.decision))
            elif isinstance(event, events.ToolReturned):
                self.answered(
                    frames.CallReturned(
                        turn=self.id, call=event.call, status=event.status, text=event.text, content=event.content
                    )
                )

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
        ack = self._acks.pop(id, None)
        if ack is not None:
            self._window.release()
        return ack
