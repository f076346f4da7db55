"""`agent.run()` in a program of its own: start, logs and stop."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support import PATIENCE, RealServer, ended, messages, until

from thoughtwire import Client, Room, events

PROGRAM = """
    import asyncio, sys, thoughtwire

    tools = [thoughtwire.ToolDeclaration(name="door"), thoughtwire.ToolDeclaration(name="safe")]
    agent = thoughtwire.Agent(sys.argv[1], worker="w-1", history=100, tools=tools)

    @agent.turn(resumes=True)
    async def answer(turn):
        if turn.resumed:
            (call,) = turn.waiting
        elif turn.user_message in ("door", "safe"):
            call = await turn.tool_called(turn.user_message, {})
        else:
            await turn.internal_monologue("Hm.")
            await asyncio.Event().wait()
        decision = await turn.approval(call)
        await turn.tool_returned(call, "open")
        return decision

    agent.run(grace=60)
"""


@contextmanager
def program(server: RealServer, agent: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), agent]
    env = {**os.environ, "THOUGHTWIRE_URL": server.url}
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def told(process: "subprocess.Popen[str]", what: str) -> str:
    """Reads the program's log up to a line that contains a text."""
    read = ""
    while what not in read:
        assert process.stderr is not None
        line = await asyncio.to_thread(process.stderr.readline)
        assert line, f"it ended before {what!r}:\n{read}"
        read += line
    return read


async def asked(room: Room) -> str:
    event = (await until(room, lambda frame: isinstance(frame.event, events.ApprovalAsked)))[
        -1
    ].event
    assert isinstance(event, events.ApprovalAsked)
    return event.call


@pytest.mark.parametrize("tool", ["door", "safe"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_a_turn_that_waits_for_people_outlives_its_program(
    server: RealServer, number: signal.Signals, tool: str
) -> None:
    name = f"ada-{number.name.lower()}-{tool}"
    async with Client(server.url) as client:
        with program(server, name) as process:
            await told(process, f"the agent {name} is offered at {server.url}")
            # The program asks about the door, and the server about the safe.
            await client.edit_agent(name, permissions={"safe": "ask"})
            room = client.attach((await client.agent(name)).main_session, after=0)
            await room.send(tool)
            call = await asked(room)
            # The program gets the acknowledgement before it waits; give it time to arrive.
            await asyncio.sleep(0.3)
            process.send_signal(number)
            # At once, not after the grace period.
            _, log = await asyncio.to_thread(process.communicate, timeout=20)
            if number != signal.SIGKILL:
                assert process.returncode == 0, log
                assert (
                    "1 turn runs; Ctrl-C again" in log
                    and "worker w-1" in log
                    and "Traceback" not in log
                )
            # Once before the next program runs, and once after.
            if number == signal.SIGTERM:
                await room.decide(call, "approved")
        with program(server, name) as process:
            if number != signal.SIGTERM:
                await told(process, "is offered at")
                await room.decide(call, "approved")
            seen = await until(room, ended)
            assert messages(seen) == ["approved"], seen[-1]


async def test_logs_a_reconnect_and_a_second_signal_ends_it_at_once() -> None:
    server = RealServer()
    try:
        with program(server, "bea") as process:
            await told(process, "is offered at")
            await asyncio.to_thread(server.kill)
            await told(process, "no connection to")
            await asyncio.to_thread(server.again)
            await told(process, "is offered again at")
            async with Client(server.url) as client:
                room = client.attach((await client.agent("bea")).main_session, after=0)
                await room.send("wait")
                await until(room, lambda frame: isinstance(frame.event, events.Thought))
                process.send_signal(signal.SIGINT)
                await told(process, "1 turn runs; Ctrl-C again ends it at once")
                process.send_signal(signal.SIGINT)
                _, log = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
                assert "offered" not in log and "Traceback" not in log
    finally:
        server.stop()


async def test_a_refused_offer_ends_it_with_a_sentence(server: RealServer) -> None:
    async with Client(server.url) as client:
        await client.create_agent("cy")
    with program(server, "cy") as process:
        _, log = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
        assert process.returncode == 1
        assert (
            log.startswith("the agent cy is not offered: cy is run by this server")
            and log.count("\n") == 1
        )
