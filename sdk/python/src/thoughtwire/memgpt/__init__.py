"""MemGPT's own agent, speaking through Thoughtwire.

`pymemgpt`'s agent takes an `interface`. The ones here say what it thinks, does and answers in a turn.
:mod:`thoughtwire.memgpt.protocol` has the functions that make frames of MemGPT's wire. `memgpt` is not
imported, and may be installed beside this or not.
"""

from .interface import AsyncInterface, RegisteredClient, SyncInterface, TextClient

__all__ = ["AsyncInterface", "RegisteredClient", "SyncInterface", "TextClient"]
