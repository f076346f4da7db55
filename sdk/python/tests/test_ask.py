"""`Room.ask`, and the versions of `websockets` that the package runs with."""

import asyncio
import re
import subprocess

import pytest
from support import HERE, PATIENCE, RealServer, ended, scripted, until

import thoughtwire
import thoughtwire.blocking
from thoughtwire import Agent, Client, Interface, Reply, Shown, events
from thoughtwire.frames import EventFrame

#: A Python whose `websockets` is the one that `pymemgpt` pins; `make test-deps` creates it.
PINNED = HERE.parents[2] / ".test-deps" / "venv" / "bin" / "python"


def test_has_the_version_of_its_package() -> None:
    said = re.search(
        r'^version = "(.*)"$', (HERE.parent / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert said is not None and thoughtwire.__version__ == said[1]


async def test_the_end_of_another_clients_turn_is_no_answer(server: RealServer) -> None:
    held, go = asyncio.Event(), asyncio.Event()
    agent = Agent("waits", url=server.url)

    @agent.turn
    async def answer(turn: Interface) -> str:
        if turn.user_message == "theirs":
            await turn.assistant_message("a part of theirs")
            held.set()
            await go.wait()
        return f"to {turn.user_message}"

    serving = asyncio.create_task(agent.serve())
    async with Client(server.url) as ours, Client(server.url) as theirs:
        session = (await ours.ensure_agent("waits", model="offered")).main_session
        other = theirs.attach(session)
        await other.send("theirs")
        await held.wait()
        room = ours.attach(session)
        seen: list[Shown] = []
        asking = asyncio.create_task(room.ask("ours", shown=seen.append))
        # Our input is queued after theirs, and on disk before their turn ends.
        await until(
            other,
            lambda frame: (
                isinstance(frame.event, events.UserMessage) and frame.event.text == "ours"
            ),
        )
        go.set()
        reply = await asking
        assert (reply.text, reply.outcome) == ("to ours", "completed")
        ends = [one for one in seen if isinstance(one, EventFrame) and ended(one)]
        assert len(ends) == 2 and ends[-1].turn == reply.turn
        # Two questions in a row in the same room.
        assert (await room.ask("again")).text == "to again"
        # The same id again does nothing twice, and brings the first answer.
        first = await room.ask("once", id="ask-1")
        assert await room.ask("once", id="ask-1") == first
        assert (first.text, await ours.records(session, limit=1000) != []) == ("to once", True)
        room.leave()
        with pytest.raises(thoughtwire.ClosedError):
            await room.ask("too late")
    await agent.stop()
    await serving


async def test_reports_failed_turns_and_withdrawn_inputs(server: RealServer) -> None:
    held = asyncio.Event()
    agent = Agent("fails", url=server.url)

    @agent.turn
    async def answer(turn: Interface) -> str:
        if turn.user_message == "wait":
            held.set()
            await asyncio.Event().wait()
        raise thoughtwire.FailedError("There is no tea.")

    serving = asyncio.create_task(agent.serve())
    async with Client(server.url) as client, Client(server.url) as other:
        session = (await client.ensure_agent("fails", model="offered")).main_session
        room = client.attach(session)
        failed = await room.ask("tea?")
        assert (failed.outcome, failed.reason, failed.messages) == (
            "failed",
            "There is no tea.",
            (),
        )
        sees = other.attach(session)
        await sees.send("wait")
        await held.wait()
        asking = asyncio.create_task(room.ask("never mind"))
        seen = await until(
            sees,
            lambda one: (
                isinstance(one.event, events.UserMessage) and one.event.text == "never mind"
            ),
        )
        waits = seen[-1].event
        assert isinstance(waits, events.UserMessage)
        await sees.withdraw(waits.item)
        assert await asking == Reply(None, "withdrawn", ())
        await sees.cancel()
    await agent.stop()
    await serving


def test_the_same_without_async(server: RealServer) -> None:
    with thoughtwire.blocking.connect(server.url) as client:
        room = client.attach(client.ensure_agent("ada").main_session)
        assert "42" in room.ask("What is 6*7?").text


async def test_a_result_without_a_call_is_a_failed_call(server: RealServer) -> None:
    agent = Agent("flies", url=server.url)

    @agent.turn
    async def answer(turn: Interface) -> str:
        await turn.function_message("Error: No function named fly")
        await turn.function_message("Running walk({})")
        await turn.function_message("Error: Error parsing JSON for function 'run' arguments: {")
        await turn.function_message("Success: walked")
        await turn.function_message("Success: for nothing")
        return "Done."

    serving = asyncio.create_task(agent.serve())
    async with Client(server.url) as client:
        session = (await client.ensure_agent("flies", model="offered")).main_session
        reply = await client.attach(session).ask("go")
        assert (reply.text, reply.outcome) == ("Done.", "completed"), reply
        log = [record.event for record in await client.records(session, limit=100)]
        names = [event.name for event in log if isinstance(event, events.ToolCalled)]
        assert names == ["fly", "walk", "run", "function"]
        returned = [
            (event.name, event.status, event.text)
            for event in log
            if isinstance(event, events.ToolReturned)
        ]
        assert returned == [
            ("fly", "error", "No function named fly"),
            ("run", "error", "Error parsing JSON for function 'run' arguments: {"),
            ("walk", "success", "walked"),
            ("function", "success", "for nothing"),
        ]
    await agent.stop()
    await serving


@pytest.mark.skipif(not PINNED.exists(), reason="`make test-deps` makes it")
async def test_runs_with_the_websockets_that_pymemgpt_pins(server: RealServer) -> None:
    program = (
        "import websockets, thoughtwire.blocking\n"
        "with thoughtwire.blocking.connect() as client:\n"
        "    reply = client.attach(client.ensure_agent('ada').main_session).ask('What is 6*7?')\n"
        "    print(websockets.__version__, reply.outcome)\n"
    )
    env = {"PYTHONPATH": str(HERE.parent / "src"), "THOUGHTWIRE_URL": server.url}
    ran = await asyncio.to_thread(
        subprocess.run,
        [str(PINNED), "-c", program],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ran.stdout.split() == ["12.0", "completed"], ran.stderr


async def test_distinguishes_a_refused_upgrade_from_a_broken_one() -> None:
    async with scripted() as server:
        # With every version of `websockets`, a server that sends its welcome is enough.
        client = asyncio.create_task(thoughtwire.connect(server.url))
        await server.greets()
        await (await client).close()
    guarded = RealServer("--auth", "keys")
    try:
        with pytest.raises(thoughtwire.ClosedError, match="401"):
            await thoughtwire.connect(guarded.url, key="twk_wrong")
    finally:
        guarded.stop()
