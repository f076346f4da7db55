"""The examples, each run as a program of its own against the real server, without a network."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from llm import ModelServer, Step
from support import HERE, PATIENCE, RealServer, ended, needs, shown_until

from thoughtwire import Client, RefusedError, Room, Shown, events
from thoughtwire.frames import Delta, EventFrame

EXAMPLES = HERE.parent / "examples"


@asynccontextmanager
async def running(
    server: RealServer, example: str, agent: str, *args: str, **variables: str
) -> AsyncIterator[Room]:
    """Runs an example with a client in its agent's main session, and stops it with SIGINT."""
    env = {**os.environ, "THOUGHTWIRE_URL": server.url, **variables}
    command = [sys.executable, str(EXAMPLES / example), *args]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    try:
        async with Client(server.url) as client:
            yield client.attach(await main_session(client, agent, process), after=0)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, said = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "Traceback" not in said, said


async def main_session(client: Client, agent: str, process: "subprocess.Popen[str]") -> str:
    """Waits for the agent's offer, and returns its main session."""
    while process.poll() is None:
        try:
            main = (await client.agent(agent)).main_session
            assert main
            return main
        except RefusedError:
            await asyncio.sleep(0.05)
    raise AssertionError("the example ended by itself")


async def turn(room: Room, text: str) -> tuple[list[events.Event], list[Shown]]:
    """Runs one turn. Returns its events, and everything that the room yielded."""
    await room.send(text)
    shown = await shown_until(room, lambda one: isinstance(one, EventFrame) and ended(one))
    happened = [one.event for one in shown if isinstance(one, EventFrame)]
    end = happened[-1]
    assert isinstance(end, events.TurnEnded) and end.outcome == "completed", end
    return happened, shown


def streamed(shown: list[Shown]) -> str:
    return "".join(one.text for one in shown if isinstance(one, Delta) and one.kind == "message")


def said(happened: list[events.Event]) -> list[str]:
    return [event.text for event in happened if isinstance(event, events.Message)]


def called(happened: list[events.Event]) -> list[tuple[str, str, str]]:
    """Lists each call's tool, status and result."""
    return [
        (one.name, one.status, one.text) for one in happened if isinstance(one, events.ToolReturned)
    ]


async def test_echo(server: RealServer) -> None:
    async with running(server, "echo.py", "echo") as room:
        happened, shown = await turn(room, "hello there")
        assert said(happened) == ["hello there "] and streamed(shown) == "hello there "


def test_echo_is_short() -> None:
    assert len((EXAMPLES / "echo.py").read_text().splitlines()) <= 30


@needs("pydantic_ai", "the extra `examples`")
async def test_pydantic_ai(server: RealServer) -> None:
    async with running(server, "pydantic_ai_agent.py", "pydantic-ada") as room:
        happened, shown = await turn(room, "Add something.")
        assert called(happened) == [("add", "success", "0")]
        assert said(happened) == ['{"add":0}'] == [streamed(shown)]
        assert any(
            isinstance(event, events.Usage) and event.output_tokens > 0 for event in happened
        )
        # The model gets the history. The test model calls no tools after its first turn.
        happened, _ = await turn(room, "And again.")
        assert len(said(happened)) == 1


@needs("langgraph.checkpoint.sqlite", "the extra `examples`")
async def test_langgraph(server: RealServer, tmp_path: Path) -> None:
    checkpoints = str(tmp_path / "checkpoints")
    async with running(server, "langgraph_agent.py", "langgraph-ada", checkpoints) as room:
        for text in ("What is 6*7?", "Once more?"):
            happened, shown = await turn(room, text)
            assert called(happened) == [("multiply", "success", "42")]
            assert said(happened) == ["The product is 42. "] == [streamed(shown)]


def remembers(messages: list[dict[str, Any]]) -> Step:
    """A model that stores the input in memory, and then answers."""
    last = messages[-1]
    if last["role"] == "user" and '"type": "user_message"' in last["content"]:
        note = {"name": "human", "content": "Likes tea.", "request_heartbeat": True}
        return "They like tea. I note that.", "core_memory_append", note
    noted = "Likes tea." in messages[0]["content"]
    return "Now I answer.", "send_message", {"message": "Noted!" if noted else "I have forgotten."}


@needs("memgpt", "pymemgpt, as the README says")
async def test_memgpt(server: RealServer, tmp_path: Path) -> None:
    with ModelServer(remembers) as model:
        home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
        async with running(
            server, "memgpt_agent.py", "memgpt-sam", OPENAI_BASE_URL=model.url, **home
        ) as room:
            for text in ("I like tea.", "I really do."):
                happened, _ = await turn(room, text)
                thoughts = [event.text for event in happened if isinstance(event, events.Thought)]
                assert thoughts == ["They like tea. I note that.", "Now I answer."]
                assert said(happened) == ["Noted!"]
                calls = [event for event in happened if isinstance(event, events.ToolCalled)]
                assert [call.name for call in calls] == ["core_memory_append", "send_message"]
                assert calls[0].args == {"name": "human", "content": "Likes tea."}
                assert [status for _, status, _ in called(happened)] == ["success", "success"]
