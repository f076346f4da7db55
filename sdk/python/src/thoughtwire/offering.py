"""One offer at one server: the connection, and the turns that run behind it."""

import asyncio
import dataclasses
import inspect
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, TypeAlias

from . import blocking, events, frames, verbs
from .address import Address
from .errors import ClosedError, EndedError, FailedError, RefusedError
from .interface import Interface
from .line import Line, LineState
from .turn import Turn

log = logging.getLogger("thoughtwire")

#: Verbs that may be unacknowledged, as many as the server takes before it stops to read the connection.
_WINDOW = 64
#: How long until an offer is made again that was refused for the moment, in seconds.
_RETRY_AFTER = 1.0
#: How long a stopping program waits for the server to take the last it says, in seconds.
_LAST_WORDS = 2.0

#: What answers a turn. What it returns is the turn's last message.
TurnFunction: TypeAlias = (
    Callable[[Interface], Awaitable[str | None]] | Callable[["blocking.Interface"], str | None]
)


class Offering:
    """Offers an agent until it is stopped, over one connection that is made again whenever it breaks."""

    def __init__(
        self,
        address: Address,
        offer: Callable[[], verbs.Offer],
        begins: TurnFunction | None,
        resumes: TurnFunction | None,
    ) -> None:
        #: The agent, as the server tells it, once the offer stands.
        self.standing: asyncio.Future[frames.AgentListing] = asyncio.get_running_loop().create_future()
        self._offer = offer
        self._begins = begins
        self._resumes = resumes
        self._address = address
        self._line = Line(address, self)
        self._line.on_state(self._noticed)
        #: Turns that run, by their ids, and what answers them; one that ended may still be at its last lines.
        self._turns: dict[str, Turn] = {}
        self._tasks: dict[Turn, asyncio.Task[None]] = {}
        self._window = asyncio.Semaphore(_WINDOW)
        self._asked: dict[str, Turn] = {}
        #: The offer that is not answered yet.
        self._offered: str | None = None
        #: Turns that are this program's and have not come yet.
        self._coming: set[str] = set()
        #: This very process has offered before.
        self._came_back = False
        #: Nothing runs, and nothing is to come.
        self._rested = asyncio.Event()
        self._stopping = False
        self._missed = False
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        """Runs turns until :meth:`stop`.

        :raises RefusedError: when the server refuses the offer for good.
        :raises ClosedError: when the server will not have us, or the offer no longer holds.
        """
        self._line.start()
        try:
            await self._over
        finally:
            for turn in [*self._turns.values()]:
                self._end(turn, "the program stops")
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._line.close(ClosedError("the agent was stopped"))
            if not self.standing.done():
                self.standing.cancel()

    async def stop(self, grace: float) -> None:
        """Takes no new turns, lets those that run come to their end, and fails those that do not in time."""
        self._stopping = True
        self._say_offer()
        self._notice_rest()
        try:
            await asyncio.wait_for(self._rested.wait(), grace)
        except asyncio.TimeoutError:
            log.warning("the agent stops in the middle of %s turns", len(self._tasks))
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=_LAST_WORDS)
        if not self._over.done():
            self._over.set_result(None)

    # What the line tells.

    def opened(self) -> None:
        self._say_offer()

    def broke(self) -> None:
        self._offered = None
        for turn in self._turns.values():
            turn.broke()
        self._notice_rest()

    def ended(self, error: ClosedError) -> None:
        self._fall(error)

    def heard(self, frame: frames.ServerFrame) -> None:
        if isinstance(frame, (frames.Ack, frames.Refused)):
            if frame.id is not None and frame.id == self._offered:
                self._offer_answered(frame)
            elif frame.id in self._asked:
                self._asked[frame.id].acknowledged(frame)
            elif isinstance(frame, frames.Refused):
                log.warning("the server refused what an agent said: %s (%s)", frame.reason, frame.code)
        elif isinstance(frame, frames.Run):
            self._run(frame)
        elif isinstance(frame, frames.RunCancelled):
            if frame.turn in self._turns:
                self._end(self._turns[frame.turn], "the turn was ended")
        elif isinstance(frame, (frames.CallSettled, frames.CallReturned)):
            if frame.turn in self._turns:
                self._turns[frame.turn].answered(frame)
        elif isinstance(frame, frames.OfferEnded):
            self._fall(ClosedError(frame.reason))

    def _noticed(self, state: LineState, reason: str | None) -> None:
        # Once for each outage: between attempts nothing is new.
        if state == "waiting" and not self._missed:
            self._missed = True
            log.warning("no connection to %s (%s); trying again until there is one", self._address.rest, reason)
        elif state == "open":
            self._missed = False

    # The offer.

    def _say_offer(self) -> None:
        if self._line.state != "open":
            return
        offer = self._offer()
        self._offered = str(uuid.uuid4())
        turns = 0 if self._stopping else offer.turns
        self._line.write(dataclasses.replace(offer, id=self._offered, turns=turns))

    def _offer_answered(self, frame: frames.Ack | frames.Refused) -> None:
        self._offered = None
        if isinstance(frame, frames.Ack):
            # Those that are not told any more have ended while there was no connection.
            for id in self._turns.keys() - set(frame.turns or ()):
                self._end(self._turns[id], "the turn ended while there was no connection")
            self._coming = set(frame.turns or ()) - self._turns.keys()
            self._came_back = self.standing.done()
            self._notice_rest()
            if frame.agent is not None and not self.standing.done():
                self.standing.set_result(dataclasses.replace(frame.agent, main_session=frame.session))
            log.info("the agent %s is offered at %s", self._offer().agent, self._address.rest)
        elif frame.retry:
            asyncio.get_running_loop().call_later(_RETRY_AFTER, self._say_offer)
        else:
            self._fall(RefusedError(frame.code, frame.reason, frame.retry))

    def _fall(self, error: Exception) -> None:
        """The offer is over by the server's verdict."""
        if not self._over.done():
            self._over.set_exception(error)
        if not self.standing.done():
            self.standing.set_exception(error)
            # Where nobody waits for it, `serve` has raised it.
            self.standing.exception()

    # Turns.

    def _run(self, run: frames.Run) -> None:
        if run.turn in self._turns:
            return self._turns[run.turn].resumed(run)
        self._coming.discard(run.turn)
        if run.resumed and self._came_back and _is_untouched(run):
            # It was on its way to this very process when a connection broke.
            run = dataclasses.replace(run, resumed=False)
        turn = Turn(run, self._line, self._window, self._asked)
        self._turns[run.turn] = turn
        task = asyncio.create_task(self._play(turn), name=f"thoughtwire-turn-{run.turn}")
        self._tasks[turn] = task
        task.add_done_callback(lambda _: self._forget(turn))

    def _end(self, turn: Turn, reason: str) -> None:
        # Cancelled first: who waits in the turn shall find that, not the end of what it waits for.
        self._tasks[turn].cancel()
        self._leave(turn, reason)

    def _forget(self, turn: Turn) -> None:
        self._leave(turn, "the turn has ended")
        del self._tasks[turn]
        self._notice_rest()

    def _leave(self, turn: Turn, reason: str) -> None:
        turn.end(reason)
        # Under its id another may run already, handed out again.
        if self._turns.get(turn.id) is turn:
            del self._turns[turn.id]

    def _notice_rest(self) -> None:
        if self._stopping and self._offered is None and not self._tasks and not self._coming:
            self._rested.set()

    async def _play(self, turn: Turn) -> None:
        function = self._resumes if turn.run.resumed else self._begins or self._resumes
        if function is None:
            reason = "The agent or the server was started anew in the middle of this turn."
            return await self._fail(turn, reason, "agent_restarted")
        try:
            inputs: tuple[frames.Input, ...] = (turn.run.input,)
            while inputs:
                inputs = await self._answer(function, turn, inputs)
        except EndedError:
            log.debug("turn %s ended without its program", turn.id)
        except asyncio.CancelledError:
            # By the server, or by a stop whose grace is over.
            if not turn.ended:
                await self._fail(turn, "The agent's program was stopped.", "agent_stopped")
            raise
        except FailedError as failed:
            await self._fail(turn, str(failed), failed.code)
        except RefusedError as refused:
            log.warning("turn %s fails, since the server refused what it said: %s", turn.id, refused)
            await self._fail(turn, f"What the agent said was refused: {refused}", refused.code)
        except Exception:
            # Clients are told no more than this: an error's text may be nobody else's business.
            log.exception("turn %s fails", turn.id)
            await self._fail(turn, "The agent's program failed.", None)

    async def _answer(
        self, function: TurnFunction, turn: Turn, inputs: tuple[frames.Input, ...]
    ) -> tuple[frames.Input, ...]:
        """Answers inputs and finishes the turn; gives the inputs that joined it meanwhile."""
        text = await _called(function, Interface(turn, inputs))
        if text is not None and not isinstance(text, str):
            raise TypeError(f"what answers a turn returns a text or nothing, not {type(text).__name__}")
        # What was said without waiting and refused fails the turn, rather than being lost behind its end.
        await turn.drained()
        # A message is never empty.
        ack = await (await turn.say(verbs.Finish(id=str(uuid.uuid4()), turn=turn.id, text=text or None)))
        return ack.steered

    async def _fail(self, turn: Turn, reason: str, code: str | None) -> None:
        try:
            await turn.fail(reason, code)
        except EndedError:
            pass
        except RefusedError as refused:
            log.error("turn %s could not be ended as failed: %s", turn.id, refused)


def _is_untouched(run: frames.Run) -> bool:
    """Whether nothing was said in a turn that is handed out again."""
    said = (record for record in run.history if record.turn == run.turn)
    return not run.open and all(isinstance(one.event, (events.TurnStarted, events.UserMessage)) for one in said)


async def _called(function: Callable[..., Any], interface: Interface) -> Any:
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):
        return await function(interface)
    loop = asyncio.get_running_loop()
    return await _on_thread(function, blocking.Interface(interface, loop), loop)


async def _on_thread(
    function: Callable[..., Any], interface: "blocking.Interface", loop: asyncio.AbstractEventLoop
) -> Any:
    """Calls it on a thread of its own, which nobody waits for when the turn is cancelled."""
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_result((result, error))

    def call() -> None:
        try:
            outcome: tuple[Any, BaseException | None] = (function(interface), None)
        except BaseException as error:
            outcome = (None, error)
        try:
            loop.call_soon_threadsafe(settle, *outcome)
        except RuntimeError:
            log.debug("a turn's thread ended after its loop")

    context = copy_context()
    # Not a pool's: a thread that hangs must not keep the program from its end.
    threading.Thread(target=context.run, args=(call,), name="thoughtwire-turn", daemon=True).start()
    result, error = await done
    if error is not None:
        raise error
    return result
