"""Python `websockets`: everybody gets each message by its `broadcast`."""

import asyncio

import load
from websockets.asyncio.server import broadcast, serve

clients = set()
running = set()


async def send():
    async for n, due in load.pieces():
        broadcast(clients, load.event(n, due))


async def talk(client):
    clients.add(client)
    try:
        async for _ in client:
            running.add(asyncio.create_task(send()))
    finally:
        clients.discard(client)


async def main():
    async with serve(talk, "127.0.0.1", load.PORT, compression=None, ping_interval=None):
        print("ready", flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
