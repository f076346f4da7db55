"""Measures MemGPT's own codec: processor time to read and to write a frame, in nanoseconds.

`codec.py VECTORS` uses the recorded frames that MemGPT's own functions write, and lists them.
"""

import json
import statistics
import sys
import time

from memgpt.server import websocket_protocol as protocol

# Number of slices for each direction, and their length in seconds. The median is reported.
SLICES, SLICE = 51, 0.01


def arguments(function, frame):
    """Returns the arguments with which a function writes a frame."""
    if function == "client_user_message":
        return [frame["message"], frame.get("agent_name")]
    return [value for key, value in frame.items() if key not in ("type", "command", "message_type")]


def written(row):
    """Returns the function and its arguments, if it writes exactly this frame."""
    function = getattr(protocol, row["fn"], None)
    if not function:
        return None
    given = arguments(row["fn"], json.loads(row["wire"]))
    try:
        return (function, given) if function(*given) == row["wire"] else None
    except TypeError:
        return None


def cost(count, work):
    """Returns the median time of a pass over `count` frames, in nanoseconds per frame."""
    slices = []
    for _ in range(SLICES):
        begun, passes = time.process_time(), 0
        while (spent := time.process_time() - begun) < SLICE:
            work()
            passes += 1
        slices.append(spent / passes / count * 1e9)
    return statistics.median(slices)


with open(sys.argv[1]) as file:
    rows = [row for row in map(json.loads, file) if "fn" in row]
known = [(row["wire"], *found) for row in rows if (found := written(row))]


def decode():
    for wire, _, _ in known:
        json.loads(wire)


def encode():
    for _, function, given in known:
        function(*given)


frames = [wire for wire, _, _ in known]
print(
    json.dumps(
        {"decode": cost(len(known), decode), "encode": cost(len(known), encode), "frames": frames}
    )
)
