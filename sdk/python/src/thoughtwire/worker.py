"""A worker: one offer of an agent at one server, and the turns that the server assigns to it."""

import asyncio
import dataclasses
import logging
import uuid
from collections.abc import Callable

from . import codec, events, frames, turn_function, verbs
from .address import Address
from .connection import Connection
from .errors import ClosedError, EndedError, FailedError, RefusedError
from .interface import Interface
from .turn import Turn
from .turn_function import TurnFunction

log = logging.getLogger("thoughtwire")

#: Number of verbs that may be unacknowledged. The server stops reading the connection beyond it.
_WINDOW = 64
#: Time until an offer that was refused for the moment is repeated, in seconds.
_RETRY_AFTER = 1.0
#: Time limit for the last frames of a stopping program, in seconds.
_FLUSH_TIMEOUT = 2.0

#: What clients see of a turn that failed with an error, or with a refusal.
_FAILED = "The agent's program failed."
_REFUSED = "The agent could not say what it wanted to; its log has more."


class Worker:
    """Offers an agent until it is stopped, over a connection that reconnects when it breaks."""

    def __init__(
        self,
        address: Address,
        offer: Callable[[], verbs.Offer],
        begins: TurnFunction | None,
        resumes: TurnFunction | None,
    ) -> None:
        #: The agent, once the server has accepted the offer.
        self.accepted: asyncio.Future[frames.AgentListing] = (
            asyncio.get_running_loop().create_future()
        )
        self._offer = offer
        self._begins = begins
        self._resumes = resumes
        self._address = address
        self._connection = Connection(address, self)
        #: Running turns by their ids.
        self._turns: dict[str, Turn] = {}
        #: Tasks of turns. The task of an ended turn may still be cleaning up.
        self._tasks: dict[Turn, asyncio.Task[None]] = {}
        self._window = asyncio.Semaphore(_WINDOW)
        self._turns_by_verb: dict[str, Turn] = {}
        #: The id of the offer that is not answered yet.
        self._pending_offer: str | None = None
        #: Turns that are assigned to this worker, and whose `run` has not arrived yet.
        self._assigned: set[str] = set()
        #: Whether this process has offered the agent before.
        self._is_back = False
        #: Whether the offer on this connection has been logged.
        self._offer_logged = False
        self._stopping = False
        #: Set on every change that a stop may wait for.
        self._changed = asyncio.Event()
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        """Runs turns until :meth:`stop`.

        :raises RefusedError: when the server refuses the offer for good.
        :raises ClosedError: when the server refuses the connection, or ends the offer.
        """
        self._connection.start()
        try:
            await self._stopped
        finally:
            for turn in [*self._turns.values()]:
                self._end(turn, "the program stops")
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._connection.close(ClosedError("the agent was stopped"))
            if not self.accepted.done():
                self.accepted.cancel()

    async def stop(self, grace: float) -> None:
        """Takes no new turns, waits `grace` seconds for those that run, and fails the others.

        A turn that only waits for people is left open if a function can resume it.
        """
        self._stopping = True
        self._send_offer()
        self._warn_of_lost_turns()
        loop = asyncio.get_running_loop()
        until = loop.time() + grace
        # Assigned turns may never arrive.
        loop.call_later(_FLUSH_TIMEOUT, self._expect_no_more)
        while not self._is_idle():
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), until - loop.time())
            except asyncio.TimeoutError:
                break
        await self._cut_turns()
        if not self._stopped.done():
            self._stopped.set_result(None)

    def _warn_of_lost_turns(self) -> None:
        for turn in self._tasks:
            if turn.waits and self._resumes is None:
                log.warning(
                    "turn %s waits for people, and fails after the grace period: no function"
                    " resumes it (@agent.turn(resumes=True))",
                    turn.id,
                )

    async def _cut_turns(self) -> None:
        """Fails the turns that still run, apart from those that another process can resume."""
        cut = []
        for turn, task in self._tasks.items():
            if self._offer().resumable:
                log.warning("turn %s is left to another program that is resumable", turn.id)
            elif self._is_left_open(turn):
                log.warning(
                    "turn %s waits for people, and is left open for a process that offers the agent"
                    " as the worker %s within 30 s (Agent(…, worker=…) names it)",
                    turn.id,
                    self._offer().worker,
                )
            else:
                cut.append(task)
        if cut:
            log.warning("the agent stops in the middle of %s turns, which fail", len(cut))
            for task in cut:
                task.cancel()
            await asyncio.wait(cut, timeout=_FLUSH_TIMEOUT)

    @property
    def running(self) -> int:
        """Number of turns that run."""
        return len(self._tasks)

    # Called by the connection.

    def connected(self) -> None:
        """Sends the offer on a new connection."""
        self._offer_logged = False
        self._send_offer()

    def disconnected(self) -> None:
        """Tells the turns that the connection broke."""
        self._pending_offer = None
        for turn in self._turns.values():
            turn.disconnected()
        self._changed.set()

    def closed(self, error: ClosedError) -> None:
        """Ends the worker, whose connection is closed for good."""
        self._fail_offer(error)

    def received(self, frame: frames.ServerFrame) -> None:
        """Handles a frame of the server."""
        if isinstance(frame, (frames.Ack, frames.Refused)):
            if frame.id is not None and frame.id == self._pending_offer:
                self._offer_answered(frame)
            elif frame.id in self._turns_by_verb:
                self._turns_by_verb[frame.id].acknowledged(frame)
            elif isinstance(frame, frames.Refused):
                log.warning("the server refused a frame: %s (%s)", frame.reason, frame.code)
        elif isinstance(frame, frames.Run):
            self._run(frame)
        elif isinstance(frame, frames.RunCancelled):
            if frame.turn in self._turns:
                self._end(self._turns[frame.turn], "the turn was ended")
        elif isinstance(frame, (frames.CallSettled, frames.CallReturned)):
            if frame.turn in self._turns:
                self._turns[frame.turn].answered(frame)
        elif isinstance(frame, frames.OfferEnded):
            self._fail_offer(ClosedError(frame.reason))

    # The offer.

    def _send_offer(self) -> None:
        if self._connection.state != "open":
            return
        offer = self._offer()
        self._pending_offer = str(uuid.uuid4())
        turns = 0 if self._stopping else offer.turns
        self._connection.write(dataclasses.replace(offer, id=self._pending_offer, turns=turns))

    def _offer_answered(self, frame: frames.Ack | frames.Refused) -> None:
        self._pending_offer = None
        if isinstance(frame, frames.Ack):
            self._offer_accepted(frame)
        elif frame.retry:
            asyncio.get_running_loop().call_later(_RETRY_AFTER, self._send_offer)
        else:
            self._fail_offer(RefusedError(frame.code, frame.reason, frame.retry))

    def _offer_accepted(self, ack: frames.Ack) -> None:
        # Turns that the server does not list ended while there was no connection.
        for id in self._turns.keys() - set(ack.turns or ()):
            self._end(self._turns[id], "the turn ended while there was no connection")
        self._assigned = set(ack.turns or ()) - self._turns.keys()
        self._is_back = self.accepted.done()
        self._changed.set()
        if not self._offer_logged:
            self._offer_logged = True
            how = "offered again" if self._is_back else "offered"
            log.info("the agent %s is %s at %s", self._offer().agent, how, self._address.rest)
        agent = codec.listing(ack)
        if agent is not None and not self.accepted.done():
            self.accepted.set_result(agent)

    def _fail_offer(self, error: Exception) -> None:
        """Ends the worker with the error that ended its offer."""
        if not self._stopped.done():
            self._stopped.set_exception(error)
        if not self.accepted.done():
            self.accepted.set_exception(error)
            # Marked as retrieved: `serve` raises it where nobody waits for it.
            self.accepted.exception()

    # Turns.

    def _run(self, run: frames.Run) -> None:
        if run.turn in self._turns:
            self._turns[run.turn].resumed(run)
            return
        self._assigned.discard(run.turn)
        if run.resumed and self._is_back and _is_untouched(run):
            # The turn was on its way to this process when a connection broke.
            run = dataclasses.replace(run, resumed=False)
        replay_classes = {tool.name: tool.replay for tool in self._offer().tools if tool.replay}
        turn = Turn(
            run,
            self._connection,
            self._window,
            self._turns_by_verb,
            self._changed.set,
            replay_classes,
        )
        self._turns[run.turn] = turn
        task = asyncio.create_task(self._run_turn(turn), name=f"thoughtwire-turn-{run.turn}")
        self._tasks[turn] = task
        task.add_done_callback(lambda _: self._forget(turn))

    def _end(self, turn: Turn, reason: str) -> None:
        # The task is cancelled first, so that the function sees CancelledError, not EndedError.
        self._tasks[turn].cancel()
        self._remove(turn, reason)

    def _forget(self, turn: Turn) -> None:
        self._remove(turn, "the turn has ended")
        del self._tasks[turn]
        self._changed.set()

    def _remove(self, turn: Turn, reason: str) -> None:
        turn.end(reason)
        # The server may have assigned the turn again, under the same id.
        if self._turns.get(turn.id) is turn:
            del self._turns[turn.id]

    def _is_idle(self) -> bool:
        """Whether no turn runs or arrives that a stop would fail."""
        return (
            self._pending_offer is None
            and not self._assigned
            and all(map(self._is_left_open, self._tasks))
        )

    def _is_left_open(self, turn: Turn) -> bool:
        """Whether a stop leaves a turn open for the next process."""
        return self._resumes is not None and turn.waits

    def _expect_no_more(self) -> None:
        self._assigned.clear()
        self._changed.set()

    async def _run_turn(self, turn: Turn) -> None:
        function = self._resumes if turn.run.resumed else self._begins or self._resumes
        if function is None:
            reason = "The agent or the server was restarted in the middle of this turn."
            await self._fail(turn, reason, "agent_restarted")
            return
        try:
            inputs: tuple[frames.Input, ...] = (turn.run.input,)
            while inputs:
                inputs = await self._answer(function, turn, inputs)
        except EndedError:
            log.debug("the server ended turn %s", turn.id)
        except asyncio.CancelledError:
            # Cancelled by the server, or by a stop after its grace period.
            if not turn.ended:
                await self._fail(turn, "The agent's program was stopped.", "agent_stopped")
            raise
        except FailedError as failed:
            await self._fail(turn, str(failed) or _FAILED, failed.code)
        except RefusedError as refused:
            # Clients do not see the refusal's text: it is about the program's internals.
            log.exception(
                "turn %s fails, since the server refused a verb (%s)", turn.id, refused.code
            )
            await self._fail(turn, _REFUSED, refused.code)
        except Exception:
            # Clients do not see an error's text: it may be confidential.
            log.exception("turn %s fails", turn.id)
            await self._fail(turn, _FAILED, None)

    async def _answer(
        self, function: TurnFunction, turn: Turn, inputs: tuple[frames.Input, ...]
    ) -> tuple[frames.Input, ...]:
        """Answers inputs and finishes the turn. Returns inputs that joined it in the meantime."""
        text = await turn_function.call(function, Interface(turn, inputs))
        if text is not None and not isinstance(text, str):
            raise TypeError(
                f"a turn's function must return a str or None, not {type(text).__name__}"
            )
        # A refused verb that nobody waited for fails the turn. Otherwise nobody would notice.
        await turn.drained()
        # An empty message is not allowed.
        verb = verbs.SayFinish(id=str(uuid.uuid4()), turn=turn.id, text=text or None)
        ack = await (await turn.say(verb))
        return ack.steered

    async def _fail(self, turn: Turn, reason: str, code: str | None) -> None:
        try:
            await turn.fail(reason, code)
        except EndedError:
            pass
        except (RefusedError, ValueError) as refused:
            if reason == _FAILED:
                log.error("turn %s could not be ended as failed: %s", turn.id, refused)
            else:
                # The reason may be too long.
                log.error("turn %s fails without its reason: %s", turn.id, refused)
                await self._fail(turn, _FAILED, None)


def _is_untouched(run: frames.Run) -> bool:
    """Whether nothing was said yet in a turn that the server assigns again."""
    own = (record.event for record in run.history if record.turn == run.turn)
    began = (events.TurnStarted, events.UserMessage)
    return not run.open and all(isinstance(event, began) for event in own)
