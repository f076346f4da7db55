"""MemGPT's own WebSocket interface, from `pymemgpt` 0.2.5, with an agent that sends the load."""

import asyncio
import contextlib
import os
import time

import load
import websockets
from memgpt.server.websocket_interface import SyncWebSocketInterface

interface = SyncWebSocketInterface()


def step():
    """Runs a step of the agent, which sends the load through the interface."""
    begun = time.time()
    last = 0
    # The interface prints every message.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        for n in range(1, load.ITEMS + 1):
            due = begun + (n - 1) / load.RATE if load.RATE else time.time()
            time.sleep(max(0, due - time.time()))
            last = max(last, time.time() if time.time() - due < load.TIMER else due)
            interface.assistant_message(load.text(n, last))


async def talk(client):
    interface.register_client(client)
    try:
        async for _ in client:
            await asyncio.to_thread(step)
    except websockets.ConnectionClosed:
        pass
    finally:
        interface.unregister_client(client)


async def main():
    async with websockets.serve(talk, "127.0.0.1", load.PORT, compression=None, ping_interval=None):
        print("ready", flush=True)
        await asyncio.Future()


asyncio.run(main())
