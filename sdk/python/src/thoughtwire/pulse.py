"""Whether the event loop runs."""

import asyncio
import time
from collections.abc import Callable

#: How often it is felt for, in seconds.
_EVERY = 1.0
#: From when on a pause is long enough for a server to give the connection up, in seconds.
_TOO_LONG = 15.0
#: How long after such a pause what broke may have broken by it, in seconds.
_RECENT = 10.0


class Pulse:
    """Notices when the loop stood still, because something in it did not let go.

    >>> now = 0.0
    >>> pulse = Pulse(lambda: now)
    >>> pulse.felt()
    >>> now = 20.0
    >>> pulse.stood_still()
    20.0
    >>> now = 31.0
    >>> pulse.felt()
    >>> pulse.stood_still()
    0.0
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last: float | None = None
        #: The last pause that was too long, and when it ended.
        self._pause = 0.0
        self._ended = 0.0

    async def beat(self) -> None:
        """Feels for it, until it is cancelled."""
        self._last = None
        while True:
            self.felt()
            await asyncio.sleep(_EVERY)

    def felt(self) -> None:
        """It runs now."""
        now = self._now()
        if self._last is not None and now - self._last > _TOO_LONG:
            self._pause, self._ended = now - self._last, now
        self._last = now

    def stood_still(self) -> float:
        """For how many seconds it just stood still; 0 when it did not, or not for too long."""
        self.felt()
        return self._pause if self._pause and self._now() - self._ended < _RECENT else 0.0
