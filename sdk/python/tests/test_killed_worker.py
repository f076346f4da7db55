"""A turn whose worker is killed, and which another process finishes."""

import asyncio
import subprocess
import sys
from pathlib import Path

from support import HERE, RealServer, ended, ending, messages, until

from thoughtwire import Client, RefusedError, events


def start(server: RealServer, effects: Path, role: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(HERE / "paying_worker.py"), server.url, str(effects), role]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_another_process_finishes_a_turn_with_each_effect_once(
    server: RealServer, tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    workers = [start(server, effects, "stuck")]
    try:
        async with Client(server.url) as client:
            room = client.attach(await main_session(client), after=0)
            await room.send("Pay.")
            # The second call has taken effect, and its result was never sent.
            assert workers[0].stdout is not None
            assert await asyncio.to_thread(workers[0].stdout.readline) == "paid, and stuck\n"
            workers[0].kill()
            workers.append(start(server, effects, "works"))
            seen = await until(room, lambda one: isinstance(one.event, events.ApprovalAsked))
            question = seen[-1].event
            assert isinstance(question, events.ApprovalAsked) and question.about == "retry"
            await room.decide(question.call, "done", result="paid 2")
            seen = await until(room, ended)
            assert ending(seen).outcome == "completed"
            assert messages(seen) == ["paid 1, paid 2, paid 3"]
            assert effects.read_text().split() == ["1", "2", "3"]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


async def main_session(client: Client) -> str:
    while True:
        try:
            main = (await client.agent("payer")).main_session
            assert main
            return main
        except RefusedError:
            await asyncio.sleep(0.05)
