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


class CallFailedError(ThoughtwireError):
    """A call that is made once returned an error. The message is the error's text.

    The first attempt of a turn and a later one raise the same error.
    """


class OutcomeUnknown(ThoughtwireError):
    """A call may or may not have taken effect, and must not run again.

    The attempt before was lost during the call. A turn's function may catch this, and tell its
    model or its user so.
    """


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
