"""The errors that this package raises."""


class ThoughtwireError(Exception):
    """Base class of this package's errors."""


class RefusedError(ThoughtwireError):
    """The server refused a command.

    `code` is a stable word for programs, such as ``queue_full``. The message is a sentence for
    people. `retry` tells whether the same command may succeed later, unchanged.
    """

    def __init__(self, code: str, reason: str, retry: bool) -> None:
        super().__init__(reason)
        self.code = code
        self.retry = retry


class ClosedError(ThoughtwireError):
    """The client, room or agent is closed, by its owner or by the server."""


class EndedError(ThoughtwireError):
    """The turn has ended, and accepts nothing more."""


class FailedError(ThoughtwireError):
    """Ends a turn as failed when a turn's function raises it. Clients see its message.

    >>> raise FailedError("There is no tea.", code="out_of_tea")
    Traceback (most recent call last):
    ...
    thoughtwire.errors.FailedError: There is no tea.
    """

    def __init__(self, reason: str, code: str | None = None) -> None:
        super().__init__(reason)
        self.code = code


class OutcomeUnknown(FailedError):
    """Nobody knows whether a call took effect: its worker was lost while it ran.

    Uncaught, it ends the turn as failed, with the code ``outcome_unknown``.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"It is not known whether {name} took effect: {reason}", "outcome_unknown")


class CallFailed(ThoughtwireError):
    """A call failed in an earlier run of the turn, or its owner says so. Has the error's text."""
