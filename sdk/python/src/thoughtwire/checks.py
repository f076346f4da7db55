"""Checks of arguments before anything is sent, so that errors appear at the caller's line."""

from collections.abc import Mapping
from typing import Any, get_args

from .errors import RefusedError
from .events import ToolStatus
from .frames import Waiting


def text(value: object, what: str) -> str:
    """Returns a text, which may be empty.

    >>> text(42, "a status")
    Traceback (most recent call last):
    ...
    TypeError: a status must be a str, not int
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    return value


def non_empty(value: object, what: str) -> str:
    """Returns a text that is not empty. An empty one is refused with the server's own code.

    >>> non_empty("", "a message")
    Traceback (most recent call last):
    ...
    thoughtwire.errors.RefusedError: a message must not be empty
    """
    if not text(value, what):
        raise RefusedError("empty_text", f"{what} must not be empty", False)
    return str(value)


def call_id(value: object) -> str:
    """Returns a call's id. A call in :attr:`Interface.waiting` is accepted in its place.

    >>> call_id(Waiting(call="c-1", name="door", awaits="approval"))
    'c-1'
    """
    if isinstance(value, Waiting):
        return value.call
    if not isinstance(value, str):
        raise TypeError(
            "a call must be an id that `tool_called` returned, or one of `waiting`, not"
            f" {type(value).__name__}"
        )
    if not value:
        raise ValueError("a call's id must not be empty")
    return value


def arguments(value: object) -> dict[str, Any]:
    """Returns a call's arguments as a dictionary."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"a call's arguments must be a mapping, not {type(value).__name__}")
    for name in value:
        text(name, "an argument's name")
    return dict(value)


def status(value: ToolStatus) -> ToolStatus:
    """Returns the status of a call's result."""
    if value not in get_args(ToolStatus):
        known = " or ".join(map(repr, get_args(ToolStatus)))
        raise ValueError(f"a call's status must be {known}, not {value!r}")
    return value


def milliseconds(seconds: float | None) -> int | None:
    """Converts an optional time from seconds to milliseconds.

    >>> milliseconds(1.5)
    1500
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"a timeout must be a number of seconds, not {type(seconds).__name__}")
    if not 0 < seconds < float("inf"):
        raise ValueError(f"a timeout must be positive and finite, not {seconds}")
    return max(1, round(seconds * 1000))


def count(value: object, what: str) -> int:
    """Returns a number of tokens."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{what} must not be negative: {value}")
    return value
