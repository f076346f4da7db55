"""Talk to LLM agents in sessions that survive every disconnect, and offer your own agents.

A :class:`Client` keeps one connection and reconnects when it breaks; commands take effect once. A
:class:`Room` yields the events of one session, each once and in order, across reconnects. An
:class:`Agent` is an agent whose turns this program runs; its function speaks through an
:class:`Interface`. :mod:`thoughtwire.blocking` has the same without ``async``.

This package does not know models, or how an agent works inside.
"""

from . import events, frames
from .agent import Agent
from .client import Client, connect
from .errors import (
    CallFailed,
    ClosedError,
    EndedError,
    FailedError,
    OutcomeUnknown,
    RefusedError,
    ThoughtwireError,
)
from .frames import ToolDeclaration, Waiting
from .interface import Interface, Returned
from .reply import Reply
from .room import Cursor, Reset, Room, Shown, Tool
from .transcript import Transcript

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "CallFailed",
    "Client",
    "ClosedError",
    "Cursor",
    "EndedError",
    "FailedError",
    "Interface",
    "OutcomeUnknown",
    "RefusedError",
    "Reply",
    "Reset",
    "Returned",
    "Room",
    "Shown",
    "ThoughtwireError",
    "Tool",
    "ToolDeclaration",
    "Transcript",
    "Waiting",
    "__version__",
    "connect",
    "events",
    "frames",
]
