"""Clients that come: to see what attaching costs, and what it costs to catch up.

`readers.py URL PID CLIENTS native SESSIONS [AFTER]`: all attach at once, spread over the sessions, at their ends or
behind a position, and read until they are told that they have everything.

`readers.py URL PID CLIENTS native-return SESSION` and `… socketio-return`: all read what is said, lose their
connections, and come back when as much again was said without them.

PID is the server's, whose processor time is told. The frames are counted and not read, since this program has one
core for all of its clients: it speaks just as much of a WebSocket as that takes.
"""

import asyncio
import json
import os
import sys
import time
import urllib.parse

PATIENCE = 120
# Connections that are made at once: fewer than a listener's backlog.
AT_ONCE = 64


class Line(asyncio.Protocol):
    """A connection that counts. `enough` resolves when it has all that it waits for."""

    def __init__(self, url, greeting):
        self.url, self.greeting = url, greeting
        self.unread, self.is_open, self.is_cut = b"", False, False
        self.events, self.last, self.caught_up, self.named = 0, b"", False, b""
        self.wants, self.enough = None, asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        url = self.url
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        transport.write(
            f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def say(self, text):
        """One frame, whose mask of zeros leaves it as it is."""
        payload = text.encode()
        size = (
            bytes([0x80 | len(payload)])
            if len(payload) < 126
            else b"\xfe" + len(payload).to_bytes(2, "big")
        )
        self.transport.write(b"\x81" + size + bytes(4) + payload)

    def data_received(self, data):
        data = self.unread + data if self.unread else data
        at = 0
        if not self.is_open:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                self.unread = data
                return
            if b" 101 " not in data[:20]:
                self.fail(data[:80].decode(errors="replace"))
                return
            self.is_open = True
            self.say(self.greeting)
        while len(data) >= at + 2:
            size, begin = data[at + 1], at + 2
            if size == 126:
                begin, size = begin + 2, int.from_bytes(data[begin : begin + 2], "big")
            elif size == 127:
                begin, size = begin + 8, int.from_bytes(data[begin : begin + 8], "big")
            if len(data) < begin + size:
                break
            if data[at] & 15 == 1:
                self.take(data[begin : begin + size])
            at = begin + size
        self.unread = data[at:]
        if self.wants and not self.enough.done() and self.wants(self):
            self.enough.set_result(time.time())

    def take(self, frame):
        # The first keys say what it is.
        if frame.startswith(b'{"type":"event"') or frame.startswith(b'42["m"'):
            self.events += 1
            self.last = frame
        elif frame.startswith(b'{"type":"caught_up"'):
            self.caught_up = True
        elif frame.startswith(b'{"type":"attached"') or frame.startswith(b"40"):
            self.named = frame
        elif frame.startswith(b'{"type":"refused"') or frame.startswith(b"44"):
            self.fail(frame.decode())

    def connection_lost(self, error):
        if not self.is_cut:
            self.fail(f"a connection was lost: {error}")

    def fail(self, why):
        if not self.enough.done():
            self.enough.set_exception(RuntimeError(why))

    def until(self, wants):
        """Waits until something holds; gives when it did."""
        self.wants, self.enough = wants, asyncio.get_running_loop().create_future()
        if wants(self):
            self.enough.set_result(time.time())
        return asyncio.wait_for(self.enough, PATIENCE)

    def cut(self):
        """As a network does: without a word."""
        self.is_cut = True
        self.transport.abort()


class Native:
    """Thoughtwire's own wire."""

    def __init__(self, session):
        self.session = session

    def greeting(self, line=None):
        attach = {"type": "attach", "session": self.session}
        if line:
            attach |= {
                "after": json.loads(line.last)["seq"],
                "epoch": json.loads(line.named)["epoch"],
            }
        return json.dumps(attach)

    def speak(self, number):
        return json.dumps(
            {"type": "send", "id": f"go-{number}", "session": self.session, "text": "go"}
        )

    @staticmethod
    def is_there(line):
        return line.caught_up

    @staticmethod
    def has_heard(line):
        return b'"turn_ended"' in line.last


class SocketIo:
    """Socket.IO's, with what its clients say to have their state recovered."""

    # What `socket_io.js` was told to send each time.
    EVENTS = 100

    def greeting(self, line=None):
        if not line:
            return "40"
        return "40" + json.dumps(
            {"pid": json.loads(line.named[2:])["pid"], "offset": json.loads(line.last[2:])[-1]}
        )

    def speak(self, _number):
        return '42["go"]'

    @staticmethod
    def is_there(line):
        return bool(line.named)

    @classmethod
    def has_heard(cls, line):
        return line.events >= cls.EVENTS


async def connect(url, greetings, wants):
    """Connects one line for each greeting, and waits until all have what they want. Gives them, and when it was."""
    doors = asyncio.Semaphore(AT_ONCE)

    async def one(greeting):
        async with doors:
            _, line = await asyncio.get_running_loop().create_connection(
                lambda: Line(url, greeting), url.hostname, url.port
            )
            await line.until(lambda line: line.is_open)
        return line, await line.until(wants)

    found = await asyncio.gather(*(one(greeting) for greeting in greetings))
    return [line for line, _ in found], max(at for _, at in found)


async def come_back(url, clients, wire):
    """What is said while all are away, and what it takes until all have it."""
    lines, _ = await connect(url, [wire.greeting() for _ in range(clients)], wire.is_there)
    (speaker,), _ = await connect(url, [wire.greeting()], wire.is_there)
    speaker.say(wire.speak(1))
    await asyncio.gather(*(line.until(wire.has_heard) for line in [*lines, speaker]))
    for line in lines:
        line.cut()
    await asyncio.sleep(1)
    heard, speaker.events, speaker.last = speaker.events, 0, b""
    speaker.say(wire.speak(2))
    await speaker.until(wire.has_heard)
    # What is saved, or indexed, belongs to the speaking.
    await asyncio.sleep(2)
    behind = speaker.events
    meter = Meter()
    back, at = await connect(
        url,
        [wire.greeting(line) for line in lines],
        lambda line: wire.is_there(line) and line.events >= behind,
    )
    return meter.end(at, back) | {"behind": behind, "before": heard}


async def come(url, clients, sessions, after):
    """What it takes until all are attached and have what is behind a position."""
    greetings = [
        json.dumps(
            {"type": "attach", "session": sessions[number % len(sessions)]}
            | ({"after": after} if after is not None else {})
        )
        for number in range(clients)
    ]
    meter = Meter()
    lines, at = await connect(url, greetings, Native.is_there)
    return meter.end(at, lines)


class Meter:
    """Processor time of the server and of this program, and time."""

    def __init__(self):
        self.cpu, self.own, self.begun = cpu_seconds(), time.process_time(), time.time()

    def end(self, at, lines):
        seconds = max(at - self.begun, 1e-6)
        busy = (time.process_time() - self.own) / (time.time() - self.begun)
        events = [line.events for line in lines]
        return {
            "cpu": cpu_seconds() - self.cpu,
            "seconds": seconds,
            "busy": busy,
            "least": min(events),
            "most": max(events),
        }


def cpu_seconds():
    """Processor time that the server has used."""
    with open(f"/proc/{PID}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    url, clients, mode, rest = (
        urllib.parse.urlsplit(sys.argv[1]),
        int(sys.argv[3]),
        sys.argv[4],
        sys.argv[5:],
    )
    if mode == "native":
        work = come(url, clients, rest[0].split(","), int(rest[1]) if len(rest) > 1 else None)
    elif mode == "native-return":
        work = come_back(url, clients, Native(rest[0]))
    else:
        work = come_back(url, clients, SocketIo())
    print(json.dumps(asyncio.run(work)))


PID = int(sys.argv[2])
main()
