"""Detects when the event loop was blocked."""

import asyncio
import time
from collections.abc import Callable

#: Time between two samples, in seconds.
_INTERVAL = 1.0
#: Shortest pause that lets a server give the connection up, in seconds.
_BLOCKED_FOR = 15.0
#: Time after such a pause in which a broken connection may be its consequence, in seconds.
_RECENT = 10.0


class LoopMonitor:
    """Measures how long the event loop was blocked by code that did not yield.

    >>> now = 0.0
    >>> monitor = LoopMonitor(lambda: now)
    >>> monitor.sample()
    >>> now = 20.0
    >>> monitor.blocked_seconds()
    20.0
    >>> now = 31.0
    >>> monitor.sample()
    >>> monitor.blocked_seconds()
    0.0
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last: float | None = None
        #: The last pause that was too long, and when it ended.
        self._pause = 0.0
        self._ended = 0.0

    async def run(self) -> None:
        """Takes samples until it is cancelled."""
        self._last = None
        while True:
            self.sample()
            await asyncio.sleep(_INTERVAL)

    def sample(self) -> None:
        """Records that the loop runs now."""
        now = self._now()
        if self._last is not None and now - self._last > _BLOCKED_FOR:
            self._pause, self._ended = now - self._last, now
        self._last = now

    def blocked_seconds(self) -> float:
        """Returns the length of a recent pause that was too long, in seconds; 0 without one."""
        self.sample()
        return self._pause if self._pause and self._now() - self._ended < _RECENT else 0.0
