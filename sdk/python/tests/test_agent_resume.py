"""Offered agents against the real server: broken connections, and restarts of either side."""

import asyncio

import pytest
from support import BreakableProxy, RealServer, ended, ending, messages, talking, until

from thoughtwire import (
    Agent,
    Client,
    ClosedError,
    Interface,
    events,
)
from thoughtwire.frames import Delta, EventFrame


async def test_a_broken_connection_loses_and_doubles_nothing(server: RealServer) -> None:
    async with BreakableProxy(server) as proxy:
        agent = Agent("hal", url=proxy.url)
        cut = asyncio.Event()

        @agent.turn
        async def answer(turn: Interface) -> str:
            await turn.internal_monologue("before")
            async with turn.message() as message:
                for n in range(20):
                    await message.write(f"{n} ")
                    if n == 9:
                        cut.set()
            for n in range(20):
                await turn.internal_monologue(f"thought {n}")
            call = await turn.tool_called("calculator", {})
            await turn.tool_returned(call, "42")
            return "done"

        async with talking(agent, server) as (_, room):
            for _ in range(5):
                cut.clear()
                await room.send("go")
                await cut.wait()
                proxy.cut()
                seen = await until(room, ended)
                assert ending(seen).outcome == "completed"
                said = [
                    frame.event.text
                    for frame in seen
                    if isinstance(frame.event, (events.Thought, events.Message))
                ]
                counted = "".join(f"{n} " for n in range(20))
                assert said == ["before", counted, *[f"thought {n}" for n in range(20)], "done"]


async def test_a_reader_of_deltas_gets_the_whole_text_across_a_reconnect(
    server: RealServer,
) -> None:
    async with BreakableProxy(server) as proxy:
        agent = Agent("ian", url=proxy.url)
        more, seen = asyncio.Event(), asyncio.Event()

        @agent.turn
        async def answer(turn: Interface) -> None:
            async with turn.message() as message:
                await message.write("one ")
                await message.write("two ")
                await more.wait()
                await message.write("three")
                await seen.wait()

        async with talking(agent, server) as (_, room):
            await room.send("go")
            read = ""
            async for shown in room:
                if isinstance(shown, Delta):
                    read += shown.text
                    if read == "one two ":
                        proxy.cut()
                        more.set()
                    elif read == "one two three":
                        seen.set()
                if isinstance(shown, EventFrame) and ended(shown):
                    break
            assert read == "one two three"


async def test_another_process_resumes_a_turn(server: RealServer) -> None:
    first = Agent("jim", url=server.url, worker="w-1")
    asked = asyncio.Event()

    @first.turn
    async def begin(turn: Interface) -> str:
        await turn.internal_monologue("May I?")
        call = await turn.tool_called("door", {})
        asked.set()
        return await turn.approval(call, timeout=600)

    second = Agent("jim", url=server.url, worker="w-1")

    @second.turn(resumes=True)
    async def go_on(turn: Interface) -> str:
        if not turn.resumed:
            return "a new turn"
        kinds = [record.event.kind for record in turn.history if record.turn == turn.turn]
        (waiting,) = turn.waiting
        assert (waiting.name, waiting.awaits) == ("door", "approval")
        decision = await turn.approval(waiting.call)
        await turn.tool_returned(waiting.call, "open")
        return f"{kinds[-1]}, {decision}"

    serving = asyncio.create_task(first.serve())
    session = (await first.offered()).main_session
    assert session
    async with Client(server.url) as client:
        room = client.attach(session, after=0)
        await room.send("go")
        call = (await until(room, lambda frame: isinstance(frame.event, events.ApprovalAsked)))[
            -1
        ].event
        assert isinstance(call, events.ApprovalAsked)
        # The first process stops without a fail.
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        serving = asyncio.create_task(second.serve())
        await second.offered()
        await room.decide(call.call, "approved")
        seen = await until(room, ended)
        assert messages(seen) == ["approval_asked, approved"]
        await room.send("again")
        assert messages(await until(room, ended)) == ["a new turn"]
    await second.stop()
    await serving


async def test_without_a_resuming_function_it_fails_a_turn_of_another_process(
    server: RealServer,
) -> None:
    first, second = (
        Agent("kim", url=server.url, worker="w-1"),
        Agent("kim", url=server.url, worker="w-1"),
    )

    @first.turn
    async def begin(turn: Interface) -> None:
        await turn.internal_monologue("Hm.")
        await asyncio.Event().wait()

    @second.turn
    async def answer(turn: Interface) -> str:
        return "fresh"

    serving = asyncio.create_task(first.serve())
    session = (await first.offered()).main_session
    assert session
    async with Client(server.url) as client:
        room = client.attach(session, after=0)
        await room.send("go")
        await until(room, lambda frame: isinstance(frame.event, events.Thought))
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        serving = asyncio.create_task(second.serve())
        end = ending(await until(room, ended))
        assert (end.outcome, end.code) == ("failed", "agent_restarted")
        await room.send("again")
        assert messages(await until(room, ended)) == ["fresh"]
        # A third process under the same name ends the offer of the second.
        third = Agent("kim", url=server.url, worker="w-1")
        third.turn(lambda turn: "third")
        also = asyncio.create_task(third.serve())
        with pytest.raises(ClosedError):
            await serving
        await room.send("again")
        assert messages(await until(room, ended)) == ["third"]
        await third.stop()
        await also


async def test_survives_a_killed_server() -> None:
    server = RealServer()
    agent = Agent("ada", url=server.url, turns=2)
    cancelled: list[str] = []

    @agent.turn
    async def answer(turn: Interface) -> str:
        if turn.user_message != "wait":
            return f"You said: {turn.user_message}"
        try:
            await turn.internal_monologue("Hm.")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(turn.turn)
            raise
        return ""

    try:
        async with talking(agent, server) as (_, room):
            await room.send("wait")
            await until(room, lambda frame: isinstance(frame.event, events.Thought))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.again)
            # A turn that was running goes to a resumable worker only.
            end = ending(await until(room, ended))
            assert (end.outcome, end.code) == ("failed", "agent_lost")
            await room.send("are you back?")
            assert messages(await until(room, ended)) == ["You said: are you back?"]
            assert len(cancelled) == 1
    finally:
        server.stop()


async def test_a_turn_that_waits_for_people_outlives_the_server() -> None:
    server = RealServer()
    agent = Agent("ada", url=server.url)

    @agent.turn(resumes=True)
    async def answer(turn: Interface) -> str:
        if turn.resumed:
            (waiting,) = turn.waiting
            call = waiting.call
        else:
            call = await turn.tool_called("door", {})
        decision = await turn.approval(call, timeout=3600)
        await turn.tool_returned(call, "open")
        return decision

    try:
        async with talking(agent, server) as (_, room):
            await room.send("go")
            asked = (
                await until(room, lambda frame: isinstance(frame.event, events.ApprovalAsked))
            )[-1].event
            assert isinstance(asked, events.ApprovalAsked)
            for stop in (server.kill, server.terminate):
                await asyncio.to_thread(stop)
                await asyncio.to_thread(server.again)
            await room.decide(asked.call, "approved")
            assert messages(await until(room, ended)) == ["approved"]
    finally:
        server.stop()
