"""The load of all Python peers: the same pieces at the same pace as the model `load:`."""

import asyncio
import sys
import time

PORT, ITEMS, BYTES, RATE = (int(number) for number in (sys.argv[1:5] or [0, 0, 0, 0]))

# The resolution of timers, in seconds, which does not count as lateness.
TIMER = 0.002
ID = "0123456789abcdef0123456789abcdef"


def text(n, due):
    """Returns a piece: its number and time, padded to its length."""
    return f"~{n}~{int(due * 1e6)}~ ".ljust(BYTES, "x")


def event(n, due):
    """Returns a piece in a frame of Thoughtwire's native wire, so that sizes are the same."""
    return (
        f'{{"type":"event","session":"{ID}","seq":{n},'
        f'"at":"2026-01-01T00:00:00.000Z","turn":"{ID}",'
        f'"event":{{"kind":"message","item":"{ID}","text":"{text(n, due)}","complete":true}}}}'
    )


async def pieces():
    """Yields each piece's number, and the time when it was due."""
    begun = time.time()
    last = 0
    for n in range(1, ITEMS + 1):
        now = time.time()
        due = begun + (n - 1) / RATE if RATE else now
        # Also without a pace, so that other tasks run.
        await asyncio.sleep(max(0, due - now))
        late = time.time() - due
        last = max(last, time.time() if late < TIMER else due)
        yield n, last
