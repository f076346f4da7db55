"""What goes wrong, by whose verdict."""


class ThoughtwireError(Exception):
    """The root of this package's errors."""


class RefusedError(ThoughtwireError):
    """The server said no.

    `code` is the stable word for programs, such as ``queue_full``; the text is for people; `retry` says
    whether the same may succeed later, unchanged.
    """

    def __init__(self, code: str, reason: str, retry: bool) -> None:
        super().__init__(reason)
        self.code = code
        self.retry = retry


class ClosedError(ThoughtwireError):
    """It is closed: by its owner, or because the server will not have it."""


class EndedError(ThoughtwireError):
    """The turn has ended: what is said in it is not taken any more."""


class FailedError(ThoughtwireError):
    """Raise it in a turn to end that turn as failed. Its text is for people, and reaches them.

    >>> raise FailedError("There is no tea.", code="out_of_tea")
    Traceback (most recent call last):
    ...
    thoughtwire.errors.FailedError: There is no tea.
    """

    def __init__(self, reason: str, code: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
