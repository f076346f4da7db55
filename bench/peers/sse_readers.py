"""Readers of a stream of events, over server-sent events or a WebSocket.

`sse_readers.py URL PID READERS FRAMES [ATTACH]`: all readers connect, and stay for a moment. Then a
line on standard input says that the load has begun, and each reader waits for FRAMES frames. With
ATTACH the URL is a WebSocket's, and ATTACH is what each reader sends first.

PID is the server's process, whose processor time and memory are reported. Frames are counted and
not parsed, since this program has one core for all of its readers.
"""

import asyncio
import json
import os
import sys
import time
import urllib.parse

PATIENCE = 120
# Number of connections that are opened at once, below a listener's backlog.
AT_ONCE = 64
TICKS = os.sysconf("SC_CLK_TCK")


class CountingReader(asyncio.Protocol):
    """A reader that counts frames by a mark that each has once."""

    def __init__(self, url, attach):
        self.url, self.attach = url, attach
        self.mark = b'{"type":"event"' if attach else b"\ndata:"
        self.count, self.carried, self.is_open = 0, b"", False
        loop = asyncio.get_running_loop()
        self.opened, self.enough, self.wanted = loop.create_future(), loop.create_future(), None

    def connection_made(self, transport):
        self.transport = transport
        upgrade = (
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            if self.attach
            else "Accept: text/event-stream\r\n"
        )
        request = f"GET {self.url.path} HTTP/1.1\r\nHost: {self.url.netloc}\r\n{upgrade}\r\n"
        transport.write(request.encode())

    def data_received(self, data):
        data = self.carried + data
        if not self.is_open:
            if b"\r\n\r\n" not in data:
                self.carried = data
                return
            head, data = data.split(b"\r\n\r\n", 1)
            if b" 101 " not in head[:20] and b" 200 " not in head[:20]:
                self.fail(head[:80].decode(errors="replace"))
                return
            self.is_open = True
            if self.attach:
                # One frame with a mask of zeros.
                payload = self.attach.encode()
                self.transport.write(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
            self.opened.set_result(None)
        self.count += data.count(self.mark)
        # Shorter than a mark, so that none is counted twice.
        self.carried = data[-(len(self.mark) - 1) :]
        if self.wanted and self.count >= self.wanted and not self.enough.done():
            self.enough.set_result(None)

    def connection_lost(self, error):
        self.fail(f"a connection was lost: {error}")

    def fail(self, why):
        for waiting in (self.opened, self.enough):
            if not waiting.done():
                waiting.set_exception(RuntimeError(why))


def processor_time(pid):
    """Returns the processor time of a process, in seconds."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid):
    """Returns the resident memory of a process, in bytes."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


async def main(url, pid, readers, frames, attach=None):
    url, loop = urllib.parse.urlsplit(url), asyncio.get_running_loop()
    permits = asyncio.Semaphore(AT_ONCE)

    async def connect():
        async with permits:
            _, reader = await loop.create_connection(
                lambda: CountingReader(url, attach), url.hostname, url.port
            )
            await asyncio.wait_for(reader.opened, PATIENCE)
        return reader

    empty = resident(pid)
    connected = await asyncio.gather(*(connect() for _ in range(int(readers))))
    await asyncio.sleep(2)
    idle = resident(pid) - empty
    before = [reader.count for reader in connected]
    for reader, count in zip(connected, before, strict=True):
        reader.wanted = count + int(frames)
    spent, begun = processor_time(pid), time.monotonic()
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    await asyncio.wait_for(asyncio.gather(*(reader.enough for reader in connected)), PATIENCE)
    seconds = time.monotonic() - begun
    spent = processor_time(pid) - spent
    deliveries = int(readers) * int(frames)
    extra = sum(reader.count - reader.wanted for reader in connected)
    print(
        json.dumps(
            {
                "cpu_us": spent / deliveries * 1e6,
                "per_second": deliveries / seconds,
                "idle_bytes": idle / int(readers),
                "extra": extra,
            }
        ),
        flush=True,
    )
    os._exit(0)


asyncio.run(main(*sys.argv[1:]))
