"""An agent that this program runs, and offers to a server."""

import asyncio
import logging
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar, overload

from . import frames, verbs
from .address import Address
from .errors import ClosedError, RefusedError
from .turn_function import TurnFunction, is_async
from .worker import Worker

log = logging.getLogger("thoughtwire")

#: Default number of turns at once. Functions on threads may share state that is not thread-safe.
_ASYNC_TURNS = 16
_THREAD_TURNS = 1

F = TypeVar("F", bound=TurnFunction)


class Agent:
    """An agent whose turns this program runs.

    The server keeps sessions and their logs, serves clients, and handles cancels and approvals.

    >>> agent = Agent("echo")
    >>> @agent.turn
    ... async def answer(turn):
    ...     return turn.user_message
    >>> agent.run()  # doctest: +SKIP

    :param name: the agent's name or id. An unknown name creates the agent.
    :param url: the server's URL. Defaults to ``THOUGHTWIRE_URL``, then to this machine's server.
    :param key: the key for the server. Defaults to ``THOUGHTWIRE_KEY``.
    :param worker: this program's name. A process that comes back under the same name gets its turns
        again. The default is a random name for this process. Two processes at once need two names.
    :param turns: number of turns at once, including those that wait for people. Defaults to 16, or
        to 1 when a plain function answers them.
    :param history: number of the newest events that come with a turn.
    :param memory: whether core memory comes with a turn.
    :param tools: the agent's own tools, for people to see and for its permissions.
    :param resumable: whether turns whose worker was lost may go on here. The function starts over,
        with `turn.so_far`, and makes its calls with `turn.call_once`. All programs that offer the
        agent should say the same.
    :param cursors: last known position by session, for a program that stores the history itself.
        Only newer events come. The mapping is read with each offer.
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
        resumable: bool = False,
        cursors: Mapping[str, int] | None = None,
    ) -> None:
        self.name = name
        self.worker = worker or f"python-{uuid.uuid4()}"
        self._address = Address.of(url, key)
        self._turns = turns
        self._history = history
        self._memory = memory
        self._tools = tuple(tools)
        self._resumable = resumable
        self._cursors = cursors
        self._begins: TurnFunction | None = None
        self._resumes: TurnFunction | None = None
        self._worker: Worker | None = None
        self._served = asyncio.Event()

    @overload
    def turn(self, function: F) -> F: ...

    @overload
    def turn(self, *, resumes: bool) -> Callable[[F], F]: ...

    def turn(self, function: F | None = None, *, resumes: bool = False) -> F | Callable[[F], F]:
        """Registers the function that answers turns: ``@agent.turn``.

        A coroutine function gets an :class:`~thoughtwire.Interface`. A plain function runs on a
        thread, and gets a :class:`thoughtwire.blocking.Interface`. Its result is the turn's last
        message. A cancelled turn cancels the coroutine, which gets :class:`asyncio.CancelledError`.
        An exception fails the turn; clients see only the text of a
        :class:`~thoughtwire.FailedError`.

        With ``resumes=True`` the function also resumes turns in the middle, with `turn.history` and
        `turn.waiting`: turns of another process, and turns that waited for people when the server
        restarted. Without such a function these turns fail, unless the agent is `resumable`: then
        they start over. With both kinds of functions
        registered, this one gets only resumed turns.
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
        """Offers the agent and runs its turns until :meth:`stop`, across reconnects.

        :raises RefusedError: when the server refuses the offer; with the code ``not_offered`` for
            an agent that has a model of its own.
        :raises ClosedError: when the server refuses the connection, the agent is deleted, or
            another program takes over the worker's name.
        :raises ValueError: when no function answers turns.
        """
        if self._begins is None and self._resumes is None:
            raise ValueError(
                "no function answers this agent's turns: decorate one with @agent.turn"
            )
        if self._worker is not None:
            raise ValueError("this agent is served already")
        self._worker = Worker(
            self._address,
            self._offer,
            self._begins,
            self._resumes or (self._begins if self._resumable else None),
        )
        self._served.set()
        try:
            await self._worker.serve()
        finally:
            self._worker = None
            # A new event, since another event loop may serve the agent next.
            self._served = asyncio.Event()

    async def offered(self) -> frames.AgentListing:
        """Waits until the server has accepted the offer, while :meth:`serve` runs.

        :returns: the agent.
        :raises Exception: the error of `serve`, when that comes first.
        """
        await self._served.wait()
        assert self._worker is not None
        return await asyncio.shield(self._worker.accepted)

    async def stop(self, grace: float = 10.0) -> None:
        """Takes no new turns, waits `grace` seconds for those that run, and ends :meth:`serve`.

        Turns that still run then fail. With a function that resumes turns (``resumes=True``), turns
        that only wait for people are left open. A process that offers the agent under this worker's
        name within 30 seconds gets them.
        """
        if self._worker is not None:
            await self._worker.stop(grace)

    def run(self, *, grace: float = 10.0) -> None:
        """Serves until Ctrl-C or SIGTERM, for scripts. A second signal skips the `grace` period.

        Logs to stderr, unless the program has set up logging.

        :raises SystemExit: with a sentence, when the server refuses the agent.
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
                running = self._worker.running if self._worker is not None else 0
                if running:
                    turns = f"{running} turns run" if running > 1 else "1 turn runs"
                    log.info("stopping: %s; Ctrl-C again ends it at once", turns)
                stopping.append(asyncio.create_task(self.stop(grace)))

        for number in (signal.SIGINT, signal.SIGTERM):
            # Not on every system or thread. There Ctrl-C ends the program at once.
            with suppress(NotImplementedError, RuntimeError):
                loop.add_signal_handler(number, stop)
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
        turns = _ASYNC_TURNS if all(map(is_async, functions)) else _THREAD_TURNS
        return verbs.Offer(
            agent=self.name,
            worker=self.worker,
            turns=turns if self._turns is None else self._turns,
            history=self._history or None,
            memory=self._memory or None,
            tools=self._tools,
            resumable=self._resumable or None,
            cursors=dict(self._cursors) if self._cursors is not None else None,
        )


@contextmanager
def _logging() -> Iterator[None]:
    """Shows this package's logs on stderr during the block, unless logging is set up."""
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
