"""A queue between a producer and its readers."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue to iterate over asynchronously, which can be closed.

    The mailbox has no limit of its own. Its producer looks at the length and stops its source.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ended = False
        self._error: BaseException | None = None

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: T) -> None:
        """Adds an item. A closed mailbox ignores it."""
        if not self._ended:
            self._items.append(item)
            self._wake_one()

    def end(self, error: BaseException | None = None) -> None:
        """Closes the mailbox. Items in it can still be read; `error` is raised after the last."""
        if not self._ended:
            self._ended, self._error = True, error
            while self._waiting:
                self._wake_one()

    def __aiter__(self) -> "Mailbox[T]":
        return self

    async def __anext__(self) -> T:
        # A reader takes its item when it runs, so that a reader cancelled before loses none.
        while not self._items:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake_one()
                raise
        return self._items.popleft()

    def _wake_one(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
