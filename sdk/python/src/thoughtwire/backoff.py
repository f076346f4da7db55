"""Pauses between attempts."""

import random
from collections.abc import Callable

#: Limits of the first and of the longest pause, in seconds.
_FIRST = 0.25
_LONGEST = 15.0


class Backoff:
    """Computes pauses with full jitter: a random time below a limit that doubles.

    Clients that lost one server together thus do not come back together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    >>> longest = Backoff(lambda: 1.0)
    >>> longest.next(), longest.next(), longest.next(least=2.0)
    (0.25, 0.5, 3.0)
    """

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._attempts = 0

    def next(self, least: float = 0.0) -> float:
        """Returns the next pause in seconds, which is at least `least`."""
        limit = min(_LONGEST, _FIRST * float(2**self._attempts))
        self._attempts = min(self._attempts + 1, 16)
        return least + self._draw() * limit

    def reset(self) -> None:
        """Starts over after a successful attempt."""
        self._attempts = 0
