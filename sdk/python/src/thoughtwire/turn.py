"""One turn of a worker: what its function has said, and what of it the server has acknowledged."""

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import TypeAlias

from . import codec, events, frames, verbs
from .call_answers import Answer, AnswerFuture, CallAnswers
from .connection import Connection
from .errors import EndedError, RefusedError
from .generated import Awaits, Replay
from .open_calls import OpenCalls
from .past_calls import PastCalls

log = logging.getLogger("thoughtwire")

#: The type of the frame that answers a waiting call.
_ANSWER_TYPES: dict[Awaits, str] = {
    "approval": frames.CallSettled.type,
    "client": frames.CallReturned.type,
}

_AckFuture: TypeAlias = asyncio.Future[frames.Ack]
#: A verb by its id, or a delta by its item and number.
_Key: TypeAlias = str | tuple[str, int]


class Turn:
    """Keeps verbs until they are acknowledged, so that they can be sent on another connection.

    Invariant: `_unacknowledged` is in the order of speech, and is sent in that order on every
    connection. tests/test_worker_reconnect.py
    """

    def __init__(
        self,
        run: frames.Run,
        connection: Connection,
        window: asyncio.Semaphore,
        turns_by_verb: MutableMapping[str, "Turn"],
        on_wait: Callable[[], None],
        replay_classes: Mapping[str, Replay],
    ) -> None:
        self.id = run.turn
        self.run = run
        #: Replay classes that the offer declares, by tool.
        self.replay_classes = replay_classes
        #: Whether the turn has ended, so that nothing more can be said in it.
        self.ended = False
        self._connection = connection
        #: Permits for unacknowledged verbs, shared by all turns of a connection.
        self._window = window
        #: The turn to which the answer to a verb goes, shared by all turns of a connection.
        self._turns_by_verb = turns_by_verb
        #: Called when the turn's function begins to wait for the owner or a client.
        self._on_wait = on_wait
        self._calls = OpenCalls(run.waiting)
        #: Calls of an earlier run that this run has not repeated yet.
        self.past_calls = PastCalls(run)
        self._call_answers = CallAnswers()
        #: Answers that the turn's function waits for now.
        self._awaited: list[AnswerFuture] = []
        self._unacknowledged: dict[_Key, str] = {}
        self._acks: dict[str, _AckFuture] = {}
        #: Verbs that are calls which the server acknowledges after their approval.
        self._unapproved: set[str] = set()
        #: Number of deltas of each open item.
        self._deltas: dict[str, int] = {}
        self._usage: verbs.SayUsage | None = None
        # In a resumed turn an answer may come before the function waits for it.
        self._answers: defaultdict[tuple[str, str], AnswerFuture] = defaultdict(
            asyncio.get_running_loop().create_future
        )
        for one in run.waiting:
            self._answers[one.call, _ANSWER_TYPES[one.awaits]]
        # Answers to the previous process. The function gets them without asking again.
        for answer in _recorded_answers(run):
            self._answered(answer, self._call_answers.recorded(answer, run))
        #: A refusal of a verb that nobody waited for. The next verb raises it.
        self._refusal: RefusedError | None = None
        #: Whether the turn runs on the current connection. Otherwise verbs are kept for the next.
        self._connected = True

    async def say(self, verb: verbs.AcknowledgedSay) -> _AckFuture:
        """Sends a verb. Returns a future for its acknowledgement.

        :raises EndedError: when the turn has ended.
        :raises RefusedError: when an earlier verb that nobody waited for was refused.
        """
        wire = codec.encode(verb)
        self._check_running()
        self._connection.check_size(wire)
        self._calls.check(verb)
        await self._window.acquire()
        if self.ended:
            self._window.release()
            raise EndedError("the turn has ended")
        # The whole item supersedes its deltas.
        for n in range(self._deltas.pop(verb.id, 0)):
            self._unacknowledged.pop((verb.id, n), None)
        ack: _AckFuture = asyncio.get_running_loop().create_future()
        self._acks[verb.id] = ack
        self._turns_by_verb[verb.id] = self
        self._calls.add(verb)
        self._send(verb.id, wire)
        permissions = self.run.permissions or {}
        if isinstance(verb, verbs.SayToolCalled) and permissions.get(verb.name) == "ask":
            self._unapproved.add(verb.id)
            self._calls.wait_for_answer(verb.id)
            self._on_wait()
        return ack

    async def fail(self, reason: str, code: str | None) -> None:
        """Ends the turn as failed, despite earlier refusals. Returns when that is on disk."""
        self._refusal = None
        verb = verbs.SayFail(id=str(uuid.uuid4()), turn=self.id, code=code, reason=reason)
        await (await self.say(verb))

    def raise_refusal_later(self, ack: _AckFuture) -> None:
        """Lets the next verb raise the refusal of a verb that nobody waits for."""

        def answered(ack: _AckFuture) -> None:
            error = None if ack.cancelled() else ack.exception()
            if isinstance(error, RefusedError) and self._refusal is None:
                self._refusal = error

        ack.add_done_callback(answered)

    def delta(self, item: str, kind: frames.StreamKind, text: str, continues: str | None) -> None:
        """Sends a piece of an item; see :meth:`writable`."""
        self._check_running()
        n = self._deltas.get(item, 0)
        wire = codec.encode(
            verbs.SayDelta(
                turn=self.id,
                item=item,
                n=n,
                kind=kind,
                text=text,
                continues=continues if n == 0 else None,
            )
        )
        self._connection.check_size(wire)
        self._deltas[item] = n + 1
        self._send((item, n), wire)

    async def writable(self) -> None:
        """Waits while many frames are unwritten."""
        await self._connection.writable()

    def status(self, text: str) -> None:
        """Sends a progress note. Without a connection it is dropped."""
        self._check_running()
        if self._connected:
            self._connection.write(verbs.SayStatus(turn=self.id, text=text))

    def usage(self, usage: verbs.SayUsage) -> None:
        """Sends the turn's cost so far. The last one counts."""
        self._check_running()
        self._usage = usage
        if self._connected:
            self._connection.write(usage)

    def is_asked(self, call: str, awaits: Awaits) -> bool:
        """Whether the owner or a client was asked, and the function has not taken their answer."""
        return (call, _ANSWER_TYPES[awaits]) in self._answers

    async def settled(self, call: str) -> frames.CallSettled:
        """Waits for the decision about a call."""
        settled = await self._answer(call, frames.CallSettled.type)
        assert isinstance(settled, frames.CallSettled)
        return settled

    async def returned(self, call: str) -> frames.CallReturned:
        """Waits for a client's result of a call."""
        returned = await self._answer(call, frames.CallReturned.type)
        assert isinstance(returned, frames.CallReturned)
        return returned

    async def _answer(self, call: str, type: str) -> Answer:
        self._check_running()
        future = self._answers[call, type]
        if not future.done():
            self._calls.wait_for_answer(call)
        answer = await self._wait_for(future)
        self._answers.pop((call, type), None)
        return answer

    async def answer_about(self, call: str) -> Answer:
        """Waits for the decision about a call of an earlier run that waits, or for its result."""
        self._check_running()
        future = self._call_answers.of(call)
        if not future.done():
            self._calls.wait_for_answer(call)
        return await self._wait_for(future)

    async def may_retry(self, call: str) -> Answer:
        """Asks the owner whether a call may be made again, and waits for the answer.

        The answer is a result if the owner says what became of the call, or says nothing in time.
        """
        question = self._call_answers.ask(call, self.run)
        verb = verbs.SayApproval(id=str(uuid.uuid4()), turn=self.id, call=call, about="retry")
        question.ack = await self.say(verb)
        self._calls.wait_for_answer(call)
        await question.ack
        return await self._wait_for(question.answer)

    async def _wait_for(self, future: AnswerFuture) -> Answer:
        self._awaited.append(future)
        self._on_wait()
        try:
            # A waiter that is cancelled may wait again later.
            return await asyncio.shield(future)
        finally:
            self._awaited.remove(future)

    @property
    def waits(self) -> bool:
        """Whether the turn only waits for people or clients, as another process could."""
        waits = bool(self._unapproved) or any(not answer.done() for answer in self._awaited)
        return waits and self._unapproved.issuperset(self._acks) and self._calls.all_wait

    async def drained(self) -> None:
        """Waits until every verb is acknowledged.

        :raises RefusedError: when a verb that nobody waited for was refused.
        """
        await asyncio.gather(*self._acks.values(), return_exceptions=True)
        self._check_running()

    # Called with frames of the server.

    def acknowledged(self, frame: frames.Ack | frames.Refused) -> None:
        """Handles the answer to a verb."""
        if isinstance(frame, frames.Refused) and frame.code == "stopping":
            # Refused for the moment only. The verb is sent again when the server is back.
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

    def answered(self, frame: Answer) -> None:
        """Handles the answer of the owner or of a client to a call."""
        self._answered(frame, self._call_answers.received(frame))

    def _answered(self, frame: Answer, is_latest: bool) -> None:
        if not is_latest:
            return
        self._calls.answered(frame)
        answer = self._answers[frame.call, frame.type]
        if not answer.done():
            answer.set_result(frame)

    def disconnected(self) -> None:
        """Keeps verbs for the next connection from now on."""
        self._connected = False

    def resumed(self, run: frames.Run) -> None:
        """Continues on the current connection: sends again what was not acknowledged."""
        self._connected = True
        if self._usage is not None:
            self._connection.write(self._usage)
        arrived = run.open or {}
        for key, wire in [*self._unacknowledged.items()]:
            if isinstance(key, str) or key[1] >= arrived.get(key[0], 0):
                self._send(key, wire)
        # Answers that came while there was no connection.
        for answer in _recorded_answers(run):
            self._answered(answer, self._call_answers.recorded(answer, run))

    def end(self, reason: str) -> None:
        """Ends the turn. All who wait in it get an :class:`EndedError`."""
        self.ended = True
        for id in [*self._acks]:
            ack = self._forget(id)
            if ack is not None and not ack.done():
                ack.set_exception(EndedError(reason))
                # Marked as retrieved: nobody may be waiting for it.
                ack.exception()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(EndedError(reason))
                answer.exception()
        self._call_answers.end(reason)

    def _check_running(self) -> None:
        if self.ended:
            raise EndedError("the turn has ended")
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal

    def _send(self, key: _Key, wire: str) -> None:
        self._unacknowledged[key] = wire
        if self._connected:
            try:
                self._connection.write_wire(wire)
            except RefusedError as refused:
                self._too_large(key, refused)

    def _too_large(self, key: _Key, refused: RefusedError) -> None:
        if isinstance(key, str):
            ack = self._forget(key)
            if ack is not None and not ack.done():
                ack.set_exception(refused)
        else:
            # The whole item is refused as well, with the same error.
            self._unacknowledged.pop(key)

    def _forget(self, id: str) -> _AckFuture | None:
        self._unacknowledged.pop(id, None)
        self._turns_by_verb.pop(id, None)
        self._unapproved.discard(id)
        ack = self._acks.pop(id, None)
        if ack is not None:
            self._window.release()
        return ack


def _recorded_answers(run: frames.Run) -> Iterable[Answer]:
    """Lists the answers to a turn's calls in its history, without calls that were asked again."""
    answers: dict[str, Answer] = {}
    returns: list[frames.CallReturned] = []
    for record in run.history:
        if record.turn != run.turn:
            continue
        match record.event:
            case events.ApprovalAsked(call=call):
                answers.pop(call, None)
            case events.ApprovalSettled(call=call, decision=decision):
                answers[call] = frames.CallSettled(turn=run.turn, call=call, decision=decision)
            case events.ToolReturned(call=call) as returned:
                returns.append(
                    frames.CallReturned(
                        turn=run.turn,
                        call=call,
                        status=returned.status,
                        text=returned.text,
                        content=returned.content,
                    )
                )
            case _:
                pass
    return [*answers.values(), *returns]
