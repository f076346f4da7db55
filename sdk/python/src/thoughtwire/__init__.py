"""Sessions with LLM agents that survive every disconnect: talk to agents, and offer your own.

A :class:`Client` keeps one connection and makes it again when it breaks; what was asked meanwhile is sent
then, once. A :class:`Room` is a place in one session: everything that happens there, in order, each event
once, whatever happened to the connection. An :class:`Agent` is one whose turns this program runs; it
speaks through the :class:`Interface` it is handed. :mod:`thoughtwire.blocking` has the same without
``async``.

What it refuses to know: models, tools, and what an agent is made of.
"""

from . import events, frames
from .agent import Agent
from .client import Client, connect
from .errors import ClosedError, EndedError, FailedError, RefusedError, ThoughtwireError
from .frames import ToolDeclaration, Waiting
from .interface import Interface, Returned
from .room import Cursor, Reply, Reset, Room, Shown, Tool
from .transcript import Transcript

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "Client",
    "ClosedError",
    "Cursor",
    "EndedError",
    "FailedError",
    "Interface",
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
