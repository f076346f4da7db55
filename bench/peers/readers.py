"""Clients that come back: each attaches behind a position and reads until it is told that it has everything."""

import asyncio
import json
import sys
import time

import websockets

URL, SESSION, AFTER, CLIENTS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


async def client():
    """How many events one of them got, and when it had all."""
    async with websockets.connect(URL, max_size=None, compression=None) as socket:
        await socket.send(json.dumps({"type": "attach", "session": SESSION, "after": AFTER}))
        events = 0
        async for frame in socket:
            # The first keys say what it is: reading all of it would measure this program.
            if frame.startswith('{"type":"event"'):
                events += 1
            elif frame.startswith('{"type":"caught_up"'):
                return events, time.time()


async def main():
    begun = time.time()
    found = await asyncio.gather(*(client() for _ in range(CLIENTS)))
    print(json.dumps({"least": min(events for events, _ in found), "seconds": max(at for _, at in found) - begun}))


asyncio.run(main())
