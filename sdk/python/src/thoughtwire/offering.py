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

from . import blocking, codec, events, frames, verbs
from .address import Address
from .errors import ClosedError, EndedError, FailedError, RefusedError
from .interface import Interface
from .line import Line
from .turn import Turn

log = logging.getLogger("thoughtwire")

#: Verbs that may be unacknowledged, as many as the server takes before it stops to read the connection.
_WINDOW = 64
#: How long until an offer is made again that was refused for the moment, in seconds.
_RETRY_AFTER = 1.0
#: How long a stopping program waits for the server to take the last it says, in seconds.
_LAST_WORDS = 2.0

#: What clients are told of a turn that failed by an error, and by one that the server's no was.
_FAILED = "The agent's program failed."
_REFUSED = "The agent could not say what it wanted to; its log has more."

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
        self.standing: asyncio.Future[frames.AgentListing] = (
            asyncio.get_running_loop().create_future()
        )
        self._offer = offer
        self._begins = begins
        self._resumes = resumes
        self._address = address
        self._line = Line(address, self)
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
        #: That it is offered on this connection has been logged.
        self._told = False
        self._stopping = False
        #: Something happened that a stop may have waited for.
        self._stirred = asyncio.Event()
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
        """Takes no new turns, lets those that run come to their end, and fails those that do not in time.

        Turns that merely wait for people are left as they are, where a function takes them up again.
        """
        self._stopping = True
        self._say_offer()
        for turn in self._tasks:
            if turn.waits and self._resumes is None:
                log.warning(
                    "turn %s waits for people, and fails when the grace is over: no function takes it up again"
                    " (@agent.turn(resumes=True))",
                    turn.id,
                )
        loop = asyncio.get_running_loop()
        until = loop.time() + grace
        # Of turns that wait for a place, nobody knows whether they come at all.
        loop.call_later(_LAST_WORDS, self._expect_no_more)
        while not self._is_at_rest():
            self._stirred.clear()
            try:
                await asyncio.wait_for(self._stirred.wait(), until - loop.time())
            except asyncio.TimeoutError:
                break
        cut = []
        for turn, task in self._tasks.items():
            if self._is_left(turn):
                log.warning(
                    "turn %s waits for people, and is left to who offers the agent as the worker %s within 30 s"
                    " (Agent(…, worker=…) names it)",
                    turn.id,
                    self._offer().worker,
                )
            else:
                cut.append(task)
        if cut:
            log.warning("the agent stops in the middle of %s turns, which fail", len(cut))
        for task in cut:
            task.cancel()
        if cut:
            await asyncio.wait(cut, timeout=_LAST_WORDS)
        if not self._over.done():
            self._over.set_result(None)

    @property
    def running(self) -> int:
        """How many turns run."""
        return len(self._tasks)

    # What the line tells.

    def opened(self) -> None:
        self._told = False
        self._say_offer()

    def broke(self) -> None:
        self._offered = None
        for turn in self._turns.values():
            turn.broke()
        self._stirred.set()

    def ended(self, error: ClosedError) -> None:
        self._fall(error)

    def heard(self, frame: frames.ServerFrame) -> None:
        if isinstance(frame, (frames.Ack, frames.Refused)):
            if frame.id is not None and frame.id == self._offered:
                self._offer_answered(frame)
            elif frame.id in self._asked:
                self._asked[frame.id].acknowledged(frame)
            elif isinstance(frame, frames.Refused):
                log.warning(
                    "the server refused what an agent said: %s (%s)", frame.reason, frame.code
                )
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
            self._stirred.set()
            if not self._told:
                self._told = True
                how = "offered again" if self._came_back else "offered"
                log.info("the agent %s is %s at %s", self._offer().agent, how, self._address.rest)
            agent = codec.listing(frame)
            if agent is not None and not self.standing.done():
                self.standing.set_result(agent)
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
        turn = Turn(run, self._line, self._window, self._asked, self._stirred.set)
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
        self._stirred.set()

    def _leave(self, turn: Turn, reason: str) -> None:
        turn.end(reason)
        # Under its id another may run already, handed out again.
        if self._turns.get(turn.id) is turn:
            del self._turns[turn.id]

    def _is_at_rest(self) -> bool:
        """Whether nothing runs that a stop would cut, and nothing is to come."""
        return self._offered is None and not self._coming and all(map(self._is_left, self._tasks))

    def _is_left(self, turn: Turn) -> bool:
        """Whether a stop leaves a turn as it is: the next process goes on with it."""
        return self._resumes is not None and turn.waits

    def _expect_no_more(self) -> None:
        self._coming.clear()
        self._stirred.set()

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
            await self._fail(turn, str(failed) or _FAILED, failed.code)
        except RefusedError as refused:
            # Its sentence is for who wrote the program, and tells of its insides.
            log.exception(
                "turn %s fails, since what it said is refused (%s)", turn.id, refused.code
            )
            await self._fail(turn, _REFUSED, refused.code)
        except Exception:
            # Clients are told no more than this: an error's text may be nobody else's business.
            log.exception("turn %s fails", turn.id)
            await self._fail(turn, _FAILED, None)

    async def _answer(
        self, function: TurnFunction, turn: Turn, inputs: tuple[frames.Input, ...]
    ) -> tuple[frames.Input, ...]:
        """Answers inputs and finishes the turn; gives the inputs that joined it meanwhile."""
        text = await _called(function, Interface(turn, inputs))
        if text is not None and not isinstance(text, str):
            raise TypeError(
                f"what answers a turn returns a text or nothing, not {type(text).__name__}"
            )
        # What was said without waiting and refused fails the turn, rather than being lost behind its end.
        await turn.drained()
        # A message is never empty.
        ack = await (
            await turn.say(verbs.SayFinish(id=str(uuid.uuid4()), turn=turn.id, text=text or None))
        )
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
                # Its reason was too long, perhaps.
                log.error("turn %s fails without its reason: %s", turn.id, refused)
                await self._fail(turn, _FAILED, None)


def _is_untouched(run: frames.Run) -> bool:
    """Whether nothing was said in a turn that is handed out again."""
    said = (record for record in run.history if record.turn == run.turn)
    return not run.open and all(
        isinstance(one.event, (events.TurnStarted, events.UserMessage)) for one in said
    )


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a function runs in the loop, as opposed to on a thread of its own."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)
    )


async def _called(function: Callable[..., Any], interface: Interface) -> Any:
    if is_async(function):
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
