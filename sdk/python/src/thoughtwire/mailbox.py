"""What lies between who produces and who reads."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue that can be waited for, and that ends.

    It has no limit of its own; who fills it looks at its length and stops its source in time.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ended = False
        self._error: BaseException | None = None

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: T) -> None:
        """Adds one; behind the end it is passed over."""
        if not self._ended:
            self._items.append(item)
            self._wake_one()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; what is there can still be read. With an error, reading then fails with it."""
        if not self._ended:
            self._ended, self._error = True, error
            while self._waiting:
                self._wake_one()

    def __aiter__(self) -> "Mailbox[T]":
        return self

    async def __anext__(self) -> T:
        # An item is taken when its reader runs, not handed over: a reader cancelled in between loses none.
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
