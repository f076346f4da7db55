"""Publishes the load to a NATS server after a message on `bench.go`. It is not measured."""

import asyncio

import load


async def main():
    reader, writer = await asyncio.open_connection("127.0.0.1", load.PORT)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB bench.go 1\r\nPING\r\n')
    while (line := await reader.readline()) and not line.startswith(b"MSG"):
        if line.startswith(b"PONG"):
            print("ready", flush=True)
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")
    async for n, due in load.pieces():
        payload = load.event(n, due).encode()
        writer.write(b"PUB bench %d\r\n%s\r\n" % (len(payload), payload))
        await writer.drain()
    await reader.read()


asyncio.run(main())
