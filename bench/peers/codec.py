"""What a frame costs the original of MemGPT's wire, in nanoseconds of processor time: read, and written."""

import json
import time

from memgpt.server import websocket_protocol as protocol

FRAMES = 100_000


def cost(work):
    begun = time.process_time()
    for _ in range(FRAMES):
        work()
    return (time.process_time() - begun) / FRAMES * 1e9


frame = json.dumps({"type": "user_message", "message": "x" * 200, "agent_name": "ada"})
print(json.dumps({"decode": cost(lambda: json.loads(frame)), "encode": cost(lambda: protocol.server_agent_internal_monologue("x" * 200))}))
