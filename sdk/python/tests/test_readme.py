"""What the README shows, as it stands there."""

import asyncio
import os
import re
import subprocess
import sys

from support import HERE, PATIENCE, Server

BLOCKS = re.findall(r"```python\n(.*?)```", (HERE.parent / "README.md").read_text(), re.DOTALL)


async def test_talking_to_an_agent(server: Server) -> None:
    asynchronous, blocking = [block for block in BLOCKS if "agent.run()" not in block]
    env = {**os.environ, "THOUGHTWIRE_URL": server.url}
    for block, answer in [(asynchronous, "42"), (blocking + "\nprint(transcript)", "48")]:
        command = [sys.executable, "-c", block]
        ran = await asyncio.to_thread(
            subprocess.run, command, env=env, capture_output=True, text=True, timeout=PATIENCE
        )
        assert ran.returncode == 0, ran.stderr
        assert answer in ran.stdout
