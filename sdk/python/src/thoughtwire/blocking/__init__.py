"""The same without ``async``: for scripts, notebooks and synchronous programs.

Everything here asks its asynchronous sister and waits for the answer; that one runs in a loop on one
thread of its own.

>>> import thoughtwire.blocking
>>> with thoughtwire.blocking.connect("http://127.0.0.1:8282") as client:  # doctest: +SKIP
...     room = client.attach(client.ensure_agent("ada").main_session, after=0)
...     room.send("What is 6*7?")
...     for shown in room:
...         print(shown)
"""

from .client import Client, Room, connect
from .interface import Interface
from .loop import Loop

__all__ = ["Client", "Interface", "Loop", "Room", "connect"]
