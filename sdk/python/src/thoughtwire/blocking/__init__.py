"""The package without ``async``: for scripts, notebooks and synchronous programs.

Each class wraps its asynchronous counterpart, which runs in an event loop on a thread of its own,
and waits for its results.

>>> import thoughtwire.blocking
>>> with thoughtwire.blocking.connect("http://127.0.0.1:8282") as client:  # doctest: +SKIP
...     room = client.attach(client.ensure_agent("ada").main_session, after=0)
...     room.send("What is 6*7?")
...     for shown in room:
...         print(shown)
"""

from .client import BlockingClient as Client
from .client import BlockingRoom as Room
from .client import connect
from .interface import BlockingInterface as Interface
from .loop import Loop

__all__ = ["Client", "Interface", "Loop", "Room", "connect"]
