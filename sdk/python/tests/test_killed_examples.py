"""Turns of examples that are killed in the middle of a tool, and finished by another process."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import HERE, RealServer, ended, ending, messages, needs, until

from thoughtwire import Client, RefusedError, events


def start(
    server: RealServer, example: str, effects: Path, role: str, *args: str
) -> "subprocess.Popen[str]":
    path = str(HERE.parent / "examples" / example)
    command = [sys.executable, str(HERE / "paying_example.py"), path, str(effects), role, *args]
    env = {**os.environ, "THOUGHTWIRE_URL": server.url}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("example", "agent", "keeps_checkpoints"),
    [
        pytest.param(
            "pydantic_ai_agent.py",
            "pydantic-ada",
            False,
            marks=needs("pydantic_ai", "the extra `examples`"),
        ),
        pytest.param(
            "langgraph_agent.py",
            "langgraph-ada",
            True,
            marks=needs("langgraph.checkpoint.sqlite", "the extra `examples`"),
        ),
    ],
)
async def test_an_example_that_is_killed_in_a_tool_goes_on_in_another_process(
    server: RealServer, tmp_path: Path, example: str, agent: str, keeps_checkpoints: bool
) -> None:
    effects = tmp_path / "effects"
    args = [str(tmp_path / "checkpoints")] if keeps_checkpoints else []
    workers = [start(server, example, effects, "stuck", *args)]
    try:
        async with Client(server.url) as client:
            room = client.attach(await main_session(client, agent, workers[0]), after=0)
            await room.send("Pay.")
            # The second payment is made, and its result was never sent.
            assert workers[0].stdout is not None
            assert await asyncio.to_thread(workers[0].stdout.readline) == "paid, and stuck\n"
            workers[0].kill()
            workers.append(start(server, example, effects, "works", *args))
            seen = await until(room, lambda one: isinstance(one.event, events.ApprovalAsked))
            question = seen[-1].event
            assert isinstance(question, events.ApprovalAsked) and question.about == "retry"
            await room.decide(question.call, "done", result="receipt 2")
            seen += await until(room, ended)
            assert ending(seen).outcome == "completed"
            said = [text.strip() for text in messages(seen)]
            assert said == ["receipt 1, receipt 2, receipt 3"]
            happened = [frame.event for frame in seen]
            resumed = [event for event in happened if isinstance(event, events.TurnResumed)]
            assert [(one.attempt, one.reason) for one in resumed] == [(1, "worker_lost")]
            calls = [event.call for event in happened if isinstance(event, events.ToolCalled)]
            results = [event for event in happened if isinstance(event, events.ToolReturned)]
            assert [one.call for one in results] == calls
            assert [one.text for one in results] == ["receipt 1", "receipt 2", "receipt 3"]
            # No step is made twice, by the model or by the tool.
            steps = ["asked with 0", "pay 5", "asked with 1", "pay 5", "asked with 2", "pay 5"]
            assert effects.read_text().splitlines() == [*steps, "asked with 3"]
            # The turn has ended for good, and the next one begins from its start.
            await room.send("Again.")
            assert ending(await until(room, ended)).outcome == "completed"
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


async def main_session(client: Client, agent: str, worker: "subprocess.Popen[str]") -> str:
    while worker.poll() is None:
        try:
            main = (await client.agent(agent)).main_session
            assert main
            return main
        except RefusedError:
            await asyncio.sleep(0.05)
    raise AssertionError("the example ended by itself")
