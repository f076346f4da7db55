"""Mistakes that are known before anything is sent: raised where they were made."""

from collections.abc import Mapping
from typing import Any, get_args

from .errors import RefusedError
from .events import ToolStatus
from .frames import Waiting


def text(value: object, what: str) -> str:
    """A text, which may be empty.

    >>> text(42, "a status")
    Traceback (most recent call last):
    ...
    TypeError: a status is a str, not int
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} is a str, not {type(value).__name__}")
    return value


def words(value: object, what: str) -> str:
    """A text that is not empty; an empty one is refused with the server's own code.

    >>> words("", "a message")
    Traceback (most recent call last):
    ...
    thoughtwire.errors.RefusedError: a message must not be empty
    """
    if not text(value, what):
        raise RefusedError("empty_text", f"{what} must not be empty", False)
    return str(value)


def call_id(value: object) -> str:
    """A call's id; of a call that waits, as :attr:`Interface.waiting` has it, its id.

    >>> call_id(Waiting(call="c-1", name="door", awaits="approval"))
    'c-1'
    """
    if isinstance(value, Waiting):
        return value.call
    if not isinstance(value, str):
        raise TypeError(
            f"a call is the id that `tool_called` gave, or one of `waiting`, not {type(value).__name__}"
        )
    if not value:
        raise ValueError("a call's id is not empty")
    return value


def arguments(value: object) -> dict[str, Any]:
    """A call's arguments."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"a call's arguments are a mapping, not {type(value).__name__}")
    for name in value:
        text(name, "an argument's name")
    return dict(value)


def status(value: ToolStatus) -> ToolStatus:
    """How a call went."""
    if value not in get_args(ToolStatus):
        raise ValueError(
            f"a call comes back with {' or '.join(map(repr, get_args(ToolStatus)))}, not {value!r}"
        )
    return value


def milliseconds(seconds: float | None) -> int | None:
    """A time that may not be given.

    >>> milliseconds(1.5)
    1500
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"a timeout is a number of seconds, not {type(seconds).__name__}")
    if not 0 < seconds < float("inf"):
        raise ValueError(f"a timeout is more than no seconds and comes to an end, unlike {seconds}")
    return max(1, round(seconds * 1000))


def count(value: object, what: str) -> int:
    """A number of tokens."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} is an int, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{what} is not negative, unlike {value}")
    return value
