"""An agent of one's own, offered to a server."""

import asyncio
import logging
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar, overload

from . import frames, verbs
from .address import Address
from .errors import ClosedError, RefusedError
from .offering import Offering, TurnFunction, is_async

log = logging.getLogger("thoughtwire")

#: Turns that run at once, unless it is said: in a loop they cost little; functions on threads may share what
#: threads should not.
_TURNS_IN_LOOP = 16
_TURNS_ON_THREADS = 1

F = TypeVar("F", bound=TurnFunction)


class Agent:
    """An agent whose turns this program runs.

    Sessions, the log, resuming, clients, cancelling and approvals are the server's.

    >>> agent = Agent("echo")
    >>> @agent.turn
    ... async def answer(turn):
    ...     return turn.user_message
    >>> agent.run()  # doctest: +SKIP

    :param name: the agent's name or id; a name that is not there is made.
    :param url: the server's, else ``THOUGHTWIRE_URL``, else this machine's.
    :param key: what the server wants to be shown, else ``THOUGHTWIRE_KEY``.
    :param worker: names this program. Who comes back under the same name has its turns again; without one
        that holds as long as the process lives. Two processes at once need two names.
    :param turns: how many turns it runs at once, else 16, or 1 when a plain function answers them. One that
        waits for people counts.
    :param history: how many of the newest events come with a turn.
    :param memory: whether core memory comes with a turn.
    :param tools: the agent's own tools, for people and for its permissions.
    :param cursors: says that this program keeps the history that it is handed: by session, up to where it
        has the log, and nothing for none yet. Only newer events come. It is looked at whenever the offer
        is made.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str | None = None,
        key: str | None = None,
        worker: str | None = None,
        turns: int | None = None,
        history: int = 0,
        memory: bool = False,
        tools: Sequence[frames.ToolDeclaration] = (),
        cursors: Mapping[str, int] | None = None,
    ) -> None:
        self.name = name
        self.worker = worker or f"python-{uuid.uuid4()}"
        self._address = Address.of(url, key)
        self._turns = turns
        self._history = history
        self._memory = memory
        self._tools = tuple(tools)
        self._cursors = cursors
        self._begins: TurnFunction | None = None
        self._resumes: TurnFunction | None = None
        self._offering: Offering | None = None
        self._served = asyncio.Event()

    @overload
    def turn(self, function: F) -> F: ...

    @overload
    def turn(self, *, resumes: bool) -> Callable[[F], F]: ...

    def turn(self, function: F | None = None, *, resumes: bool = False) -> F | Callable[[F], F]:
        """Makes a function the one that answers turns: ``@agent.turn``.

        A coroutine function is handed an :class:`~thoughtwire.Interface`; a plain one runs on a thread and
        is handed a :class:`thoughtwire.blocking.Interface`. What it returns is the turn's last message.
        When the turn is cancelled, the coroutine is: it finds :class:`asyncio.CancelledError`. What it
        raises ends the turn as failed; of that only a :class:`~thoughtwire.FailedError`'s text reaches
        people.

        With ``resumes=True`` the function also takes turns up in the middle, with `turn.history` and
        `turn.waiting`: those that another process began, and those that waited for people when the server
        was started anew. Without such a function they are failed. Where both are registered, it has only
        those.
        """
        if function is None:
            return lambda function: self._register(function, resumes)
        return self._register(function, resumes)

    def _register(self, function: F, resumes: bool) -> F:
        if resumes:
            self._resumes = function
        else:
            self._begins = function
        return function

    async def serve(self) -> None:
        """Offers the agent and runs its turns, across any number of connections, until :meth:`stop`.

        :raises RefusedError: when the server refuses the offer: ``not_offered`` for an agent that has a
            model of its own.
        :raises ClosedError: when the server will not have us; when the agent was deleted, or another
            program came under the same worker's name.
        :raises ValueError: when no function answers turns.
        """
        if self._begins is None and self._resumes is None:
            raise ValueError(
                "nothing answers this agent's turns: decorate a function with @agent.turn"
            )
        if self._offering is not None:
            raise ValueError("this agent is served already")
        self._offering = Offering(self._address, self._offer, self._begins, self._resumes)
        self._served.set()
        try:
            await self._offering.serve()
        finally:
            self._offering = None
            # Another one, since it may be served again by another loop.
            self._served = asyncio.Event()

    async def offered(self) -> frames.AgentListing:
        """Waits until the offer stands, while :meth:`serve` runs; gives the agent as the server tells it.

        :raises Exception: what `serve` raises, when that is first.
        """
        await self._served.wait()
        assert self._offering is not None
        return await asyncio.shield(self._offering.standing)

    async def stop(self, grace: float = 10.0) -> None:
        """Takes no new turns, gives those that run `grace` seconds, and ends :meth:`serve`.

        Those that do not end in it fail. Those that merely wait for people are left as they are, at once,
        where a function takes them up (``resumes=True``): whoever offers the agent under this worker's name
        within 30 seconds has them.
        """
        if self._offering is not None:
            await self._offering.stop(grace)

    def run(self, *, grace: float = 10.0) -> None:
        """Serves until Ctrl-C or SIGTERM, for scripts. A second one does not wait for the `grace`.

        What goes on is logged to stderr, unless the program logs it already.

        :raises SystemExit: with a sentence, when the server will not have the agent.
        """
        with _logging():
            try:
                asyncio.run(self._run(grace))
            except (RefusedError, ClosedError) as error:
                raise SystemExit(f"the agent {self.name} is not offered: {error}") from None

    async def _run(self, grace: float) -> None:
        loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self.serve())
        stopping: list[asyncio.Task[None]] = []

        def stop() -> None:
            if stopping:
                serving.cancel()
            else:
                running = self._offering.running if self._offering is not None else 0
                if running:
                    turns = f"{running} turns run" if running > 1 else "1 turn runs"
                    log.info("stopping: %s; Ctrl-C again ends it at once", turns)
                stopping.append(asyncio.create_task(self.stop(grace)))

        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, stop)
            except (NotImplementedError, RuntimeError):
                # Not on this system, or not on this thread: there Ctrl-C ends it at once.
                pass
        try:
            await serving
        except asyncio.CancelledError:
            if not stopping:
                raise
        finally:
            for task in stopping:
                task.cancel()

    def _offer(self) -> verbs.Offer:
        functions = [function for function in (self._begins, self._resumes) if function is not None]
        turns = _TURNS_IN_LOOP if all(map(is_async, functions)) else _TURNS_ON_THREADS
        return verbs.Offer(
            agent=self.name,
            worker=self.worker,
            turns=turns if self._turns is None else self._turns,
            history=self._history or None,
            memory=self._memory or None,
            tools=self._tools,
            cursors=dict(self._cursors) if self._cursors is not None else None,
        )


@contextmanager
def _logging() -> Iterator[None]:
    """Inside, what this package logs is seen: where nobody listens, on stderr."""
    if log.hasHandlers():
        yield
        return
    handler, level = logging.StreamHandler(sys.stderr), log.level
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    if level == logging.NOTSET:
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
