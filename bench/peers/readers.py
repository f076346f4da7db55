"""Clients that attach and catch up, to measure what that costs the server.

`readers.py URL PID CLIENTS native SESSIONS [AFTER]`: all clients attach at once, spread over the
sessions, at their heads or after a position, and read until they have caught up.

`readers.py URL PID CLIENTS native-return SESSION` and `… socketio-return`: all clients read the
messages, lose their connections, and come back after as many messages again.

PID is the server's process, whose processor time is reported. Frames are counted and not parsed,
since this program has one core for all of its clients. It implements only the necessary part of the
WebSocket protocol.
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


class CountingConnection(asyncio.Protocol):
    """A connection that counts frames. `enough` resolves when it has all that it waits for."""

    def __init__(self, url, greeting):
        self.url, self.greeting = url, greeting
        self.unread, self.is_open, self.is_cut = b"", False, False
        self.events, self.last, self.caught_up, self.attached = 0, b"", False, b""
        self.wants, self.enough = None, asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        url = self.url
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        transport.write(
            f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def say(self, text):
        """Sends one frame, with a mask of zeros."""
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
        # The first keys tell the type.
        if frame.startswith((b'{"type":"event"', b'42["m"')):
            self.events += 1
            self.last = frame
        elif frame.startswith(b'{"type":"caught_up"'):
            self.caught_up = True
        elif frame.startswith((b'{"type":"attached"', b"40")):
            self.attached = frame
        elif frame.startswith((b'{"type":"refused"', b"44")):
            self.fail(frame.decode())

    def connection_lost(self, error):
        if not self.is_cut:
            self.fail(f"a connection was lost: {error}")

    def fail(self, why):
        if not self.enough.done():
            self.enough.set_exception(RuntimeError(why))

    def until(self, wants):
        """Waits for a condition. Returns the time when it was fulfilled."""
        self.wants, self.enough = wants, asyncio.get_running_loop().create_future()
        if wants(self):
            self.enough.set_result(time.time())
        return asyncio.wait_for(self.enough, PATIENCE)

    def cut(self):
        """Breaks the connection without a close frame."""
        self.is_cut = True
        self.transport.abort()


class Native:
    """Thoughtwire's native wire."""

    def __init__(self, session):
        self.session = session

    def greeting(self, connection=None):
        attach = {"type": "attach", "session": self.session}
        if connection:
            attach |= {
                "after": json.loads(connection.last)["seq"],
                "epoch": json.loads(connection.attached)["epoch"],
            }
        return json.dumps(attach)

    def speak(self, number):
        return json.dumps(
            {"type": "send", "id": f"go-{number}", "session": self.session, "text": "go"}
        )

    @staticmethod
    def is_there(connection):
        return connection.caught_up

    @staticmethod
    def has_heard(connection):
        return b'"turn_ended"' in connection.last


class SocketIo:
    """Socket.IO's protocol, with connection state recovery."""

    # Number of messages that `socket_io.js` sends each time.
    EVENTS = 100

    def greeting(self, connection=None):
        if not connection:
            return "40"
        return "40" + json.dumps(
            {
                "pid": json.loads(connection.attached[2:])["pid"],
                "offset": json.loads(connection.last[2:])[-1],
            }
        )

    def speak(self, _number):
        return '42["go"]'

    @staticmethod
    def is_there(connection):
        return bool(connection.attached)

    @classmethod
    def has_heard(cls, connection):
        return connection.events >= cls.EVENTS


async def connect(url, greetings, wants):
    """Opens a connection for each greeting, and waits until all fulfil a condition.

    Returns the connections, and the time when the last fulfilled it.
    """
    permits = asyncio.Semaphore(AT_ONCE)

    async def one(greeting):
        async with permits:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: CountingConnection(url, greeting), url.hostname, url.port
            )
            await connection.until(lambda connection: connection.is_open)
        return connection, await connection.until(wants)

    found = await asyncio.gather(*(one(greeting) for greeting in greetings))
    return [connection for connection, _ in found], max(at for _, at in found)


async def come_back(url, clients, wire):
    """Measures the return of clients that missed messages while they were away."""
    connections, _ = await connect(url, [wire.greeting() for _ in range(clients)], wire.is_there)
    (speaker,), _ = await connect(url, [wire.greeting()], wire.is_there)
    speaker.say(wire.speak(1))
    await asyncio.gather(
        *(connection.until(wire.has_heard) for connection in [*connections, speaker])
    )
    for connection in connections:
        connection.cut()
    await asyncio.sleep(1)
    heard, speaker.events, speaker.last = speaker.events, 0, b""
    speaker.say(wire.speak(2))
    await speaker.until(wire.has_heard)
    # Saving and indexing do not count.
    await asyncio.sleep(2)
    behind = speaker.events
    meter = Meter()
    back, at = await connect(
        url,
        [wire.greeting(connection) for connection in connections],
        lambda connection: wire.is_there(connection) and connection.events >= behind,
    )
    return meter.end(at, back) | {"behind": behind, "before": heard}


async def come(url, clients, sessions, after):
    """Measures until all clients are attached and have caught up."""
    greetings = [
        json.dumps(
            {"type": "attach", "session": sessions[number % len(sessions)]}
            | ({"after": after} if after is not None else {})
        )
        for number in range(clients)
    ]
    meter = Meter()
    connections, at = await connect(url, greetings, Native.is_there)
    return meter.end(at, connections)


class Meter:
    """Measures time, and the processor time of the server and of this program."""

    def __init__(self):
        self.cpu, self.own, self.begun = cpu_seconds(), time.process_time(), time.time()

    def end(self, at, connections):
        seconds = max(at - self.begun, 1e-6)
        busy = (time.process_time() - self.own) / (time.time() - self.begun)
        events = [connection.events for connection in connections]
        return {
            "cpu": cpu_seconds() - self.cpu,
            "seconds": seconds,
            "busy": busy,
            "least": min(events),
            "most": max(events),
        }


def cpu_seconds():
    """Returns the server's processor time, in seconds."""
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
