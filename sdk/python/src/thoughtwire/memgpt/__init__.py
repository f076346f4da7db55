"""Interfaces for MemGPT's own agent.

`pymemgpt`'s agent takes an `interface`. Those in this package send its thoughts, calls and messages
in a Thoughtwire turn. :mod:`thoughtwire.memgpt.protocol` has the functions that make frames of
MemGPT's protocol. `memgpt` is not imported, and need not be installed.
"""

from .interface import AsyncInterface, RegisteredClient, SyncInterface, TextClient

__all__ = ["AsyncInterface", "RegisteredClient", "SyncInterface", "TextClient"]
