"""Offered agents against the real server, with clients that talk to them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support import Cable, Server, ended, messages, shown_until, soon, until

from thoughtwire import (
    Agent,
    Client,
    ClosedError,
    EndedError,
    FailedError,
    Interface,
    RefusedError,
    Room,
    Tool,
    ToolDeclaration,
    blocking,
    events,
)
from thoughtwire.frames import Delta, EventFrame, Partial, Status


@asynccontextmanager
async def talking(agent: Agent, server: Server) -> AsyncIterator[tuple[Client, Room]]:
    """The agent, served, and a client in its main session."""
    serving = asyncio.create_task(agent.serve())
    session = (await agent.offered()).main_session
    assert session
    async with Client(server.url, name="test") as client:
        yield client, client.attach(session, after=0)
    await agent.stop(grace=0)
    await serving


def ending(seen: list[EventFrame]) -> events.TurnEnded:
    end = seen[-1].event
    assert isinstance(end, events.TurnEnded)
    return end


async def test_everything_an_agent_says_is_in_the_log_in_order(server: Server) -> None:
    agent = Agent("ada", url=server.url, history=50, memory=True)

    @agent.turn
    async def answer(turn: Interface) -> str:
        assert turn.memory and turn.after is not None
        await turn.status("thinking")
        await turn.internal_monologue("Hm.")
        call = await turn.tool_called("calculator", {"expression": "6*7"})
        await turn.tool_returned(call, "42", content={"value": 42})
        await turn.function_message('Running now({"zone": "UTC"})')
        await turn.function_message("Success: noon")
        async with turn.message() as message:
            for piece in ("It ", "is ", "42."):
                await message.write(piece)
        await turn.usage(120, 8, cached_tokens=100)
        return f"You said: {turn.user_message}"

    async with talking(agent, server) as (client, room):
        await room.send("What is 6*7?", attachments=["file-1"])
        shown = await shown_until(room, lambda one: isinstance(one, EventFrame) and ended(one))
        log = [one.event for one in shown if isinstance(one, EventFrame)]
        assert [event.kind for event in log] == [
            "session_opened",
            "user_message",
            "turn_started",
            "thought",
            "tool_called",
            "tool_returned",
            "tool_called",
            "tool_returned",
            "message",
            "usage",
            "message",
            "turn_ended",
        ]
        called = log[6]
        assert isinstance(called, events.ToolCalled)
        assert (called.name, called.args) == ("now", {"zone": "UTC"})
        assert log[-3] == events.Usage(input_tokens=120, output_tokens=8, cached_tokens=100)
        assert [event.text for event in log if isinstance(event, events.Message)] == [
            "It is 42.",
            "You said: What is 6*7?",
        ]
        deltas = [one for one in shown if isinstance(one, Delta)]
        assert "".join(delta.text for delta in deltas) == "It is 42."
        assert any(isinstance(one, Status) and one.text == "thinking" for one in shown)
        assert "ada" in [agent.name for agent in await client.agents()]


async def test_history_comes_as_it_was_asked_for(server: Server) -> None:
    agent = Agent("bea", url=server.url, history=4)

    @agent.turn
    async def answer(turn: Interface) -> str:
        return ",".join(f"{record.seq}:{record.event.kind}" for record in turn.history)

    async with talking(agent, server) as (_, room):
        await room.send("one")
        assert messages(await until(room, ended)) == ["1:session_opened"]
        await room.send("two")
        assert messages(await until(room, ended)) == [
            "2:user_message,3:turn_started,4:message,5:turn_ended"
        ]


async def test_a_cancelled_turn_cancels_its_coroutine(server: Server) -> None:
    agent = Agent("cat", url=server.url)
    found: list[str] = []

    @agent.turn
    async def answer(turn: Interface) -> None:
        try:
            async with turn.message() as message:
                await message.write("I was about to")
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            found.append("cancelled")
            with pytest.raises(EndedError):
                await turn.assistant_message("too late")
            raise

    async with talking(agent, server) as (_, room):
        await room.send("go")
        await shown_until(room, lambda one: isinstance(one, (Delta, Partial)))
        await room.cancel()
        seen = await until(room, ended)
        assert ending(seen).outcome == "cancelled"
        await soon(lambda: found == ["cancelled"])
        cut = next(one.event for one in seen if isinstance(one.event, events.Message))
        assert (cut.text, cut.complete) == ("I was about to", False)


async def test_a_plain_function_runs_on_a_thread_and_finds_that_its_turn_has_ended(
    server: Server,
) -> None:
    agent = Agent("dan", url=server.url)
    found: list[str] = []

    @agent.turn
    def answer(turn: blocking.Interface) -> str:
        if turn.user_message == "wait":
            try:
                while True:
                    with turn.thought() as thought:
                        thought.write("still ")
                        thought.write("here")
            except EndedError:
                found.append("ended")
                raise
        call = turn.tool_called("calculator", {"expression": "6*7"})
        turn.tool_returned(call, "42")
        turn.close()
        with pytest.raises(EndedError):
            turn.status("closed")
        return "It is 42."

    async with talking(agent, server) as (_, room):
        await room.send("What is 6*7?")
        assert messages(await until(room, ended)) == ["It is 42."]
        await room.send("wait")
        await until(room, lambda frame: isinstance(frame.event, events.Thought))
        await room.cancel()
        assert ending(await until(room, ended)).outcome == "cancelled"
        await soon(lambda: found == ["ended"])


async def test_errors_end_the_turn_as_failed_with_a_clean_text(server: Server) -> None:
    agent = Agent("eli", url=server.url)

    @agent.turn
    async def answer(turn: Interface) -> None:
        if turn.user_message == "tea":
            raise FailedError("There is no tea.", code="out_of_tea")
        if turn.user_message == "refused":
            await turn.tool_returned("nowhere", "42")
            return
        raise RuntimeError("the password is xyzzy")

    async with talking(agent, server) as (_, room):
        ends = []
        for text in ("tea", "refused", "boom"):
            await room.send(text)
            ends.append(ending(await until(room, ended)))
        assert [end.outcome for end in ends] == ["failed"] * 3
        assert [end.code for end in ends] == ["out_of_tea", "unknown_call", "agent_failed"]
        assert ends[0].reason == "There is no tea."
        assert "xyzzy" not in str(ends[2].reason)


async def test_asks_leave_and_has_clients_run_their_tools(server: Server) -> None:
    declared = [ToolDeclaration(name="rm", description="Removes."), ToolDeclaration(name="ls")]
    agent = Agent("flo", url=server.url, tools=declared)

    @agent.turn
    async def answer(turn: Interface) -> str:
        if turn.user_message == "door":
            assert [tool.name for tool in turn.client_tools] == ["open_door"]
            call = await turn.tool_called("open_door", {"room": "attic"})
            returned = await turn.client_runs(call, timeout=60)
            return f"{returned.status}: {returned.text}"
        if turn.user_message == "denied":
            with pytest.raises(RefusedError) as refused:
                await turn.tool_called("rm", {})
            return refused.value.code
        assert turn.permissions == {"ls": "ask", "rm": "deny"}
        try:
            call = await turn.tool_called("ls", {})
        except RefusedError as refused:
            return refused.code
        # The server has asked: this asks nobody again.
        decision = await turn.approval(call, timeout=60)
        await turn.tool_returned(call, "a, b")
        return decision

    async with talking(agent, server) as (client, room):
        await client.edit_agent("flo", permissions={"ls": "ask", "rm": "deny"})
        for verdict in ("approved", "denied"):
            await room.send("list")
            asked = (
                await until(room, lambda frame: isinstance(frame.event, events.ApprovalAsked))
            )[-1].event
            assert isinstance(asked, events.ApprovalAsked)
            await room.decide(asked.call, verdict)
            seen = await until(room, ended)
            assert messages(seen) == ["approved" if verdict == "approved" else "forbidden"]
            returned = [one.event for one in seen if isinstance(one.event, events.ToolReturned)]
            assert [one.status for one in returned] == [
                "success" if verdict == "approved" else "error"
            ]
            assert not any(isinstance(one.event, events.ApprovalAsked) for one in seen)
        await room.send("denied")
        assert messages(await until(room, ended)) == ["forbidden"]
        cursor = room.cursor
        room.leave()
        tools = {
            "open_door": Tool(
                "Opens a door.", lambda room: f"the {room} is open", {"type": "object"}
            )
        }
        room = client.attach(room.session, cursor=cursor, tools=tools)
        await room.send("door")
        assert messages(await until(room, ended)) == ["success: the attic is open"]


async def test_inputs_that_join_a_turn_are_answered_in_it(server: Server) -> None:
    agent = Agent("gil", url=server.url)
    go = asyncio.Event()

    @agent.turn
    async def answer(turn: Interface) -> str:
        await turn.internal_monologue("Hm.")
        await go.wait()
        return f"{len(turn.inputs)}: {turn.user_message}"

    async with talking(agent, server) as (_, room):
        await room.send("one")
        await until(room, lambda frame: isinstance(frame.event, events.Thought))
        assert (await room.send("two", policy="steer")).disposition == "steered"
        go.set()
        seen = await until(room, ended)
        assert messages(seen) == ["1: one", "1: two"]
        assert len({frame.turn for frame in seen if isinstance(frame.event, events.Message)}) == 1


async def test_a_broken_connection_loses_and_doubles_nothing(server: Server) -> None:
    async with Cable(server) as cable:
        agent = Agent("hal", url=cable.url)
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
                cable.cut()
                seen = await until(room, ended)
                assert ending(seen).outcome == "completed"
                said = [
                    frame.event.text
                    for frame in seen
                    if isinstance(frame.event, (events.Thought, events.Message))
                ]
                counted = "".join(f"{n} " for n in range(20))
                assert said == ["before", counted, *[f"thought {n}" for n in range(20)], "done"]


async def test_a_deltas_reader_sees_the_text_go_on_where_it_stopped(server: Server) -> None:
    async with Cable(server) as cable:
        agent = Agent("ian", url=cable.url)
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
                        cable.cut()
                        more.set()
                    elif read == "one two three":
                        seen.set()
                if isinstance(shown, EventFrame) and ended(shown):
                    break
            assert read == "one two three"


async def test_another_process_takes_up_what_the_first_one_began(server: Server) -> None:
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
        # It goes without a word.
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


async def test_without_a_function_for_that_it_fails_what_another_process_began(
    server: Server,
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
        # A third under the same name ends the second.
        third = Agent("kim", url=server.url, worker="w-1")
        third.turn(lambda turn: "third")
        also = asyncio.create_task(third.serve())
        with pytest.raises(ClosedError):
            await serving
        await room.send("again")
        assert messages(await until(room, ended)) == ["third"]
        await third.stop()
        await also


async def test_is_told_that_an_agent_is_the_servers_or_was_deleted(server: Server) -> None:
    async with Client(server.url) as client:
        await client.create_agent("lee")
        agent = Agent("lee", url=server.url)
        agent.turn(lambda turn: "hello")
        with pytest.raises(RefusedError) as refused:
            await agent.serve()
        assert refused.value.code == "not_offered"
        mia = Agent("mia", url=server.url)
        mia.turn(lambda turn: "hello")
        serving = asyncio.create_task(mia.serve())
        await mia.offered()
        await client.delete_agent("mia")
        with pytest.raises(ClosedError):
            await serving


async def test_inputs_wait_while_nobody_offers_and_stopping_takes_no_new_ones(
    server: Server,
) -> None:
    agent = Agent("nik", url=server.url, turns=4)
    go = asyncio.Event()

    @agent.turn
    async def answer(turn: Interface) -> str:
        await turn.internal_monologue("Hm.")
        await go.wait()
        return f"You said: {turn.user_message}"

    serving = asyncio.create_task(agent.serve())
    session = (await agent.offered()).main_session
    assert session
    async with Client(server.url) as client:
        other = client.attach(await client.create_session("nik"), after=0)
        room = client.attach(session, after=0)
        await room.send("one")
        await until(room, lambda frame: isinstance(frame.event, events.Thought))
        stopping = asyncio.create_task(agent.stop(grace=60))
        await asyncio.sleep(0)
        go.set()
        assert messages(await until(room, ended)) == ["You said: one"]
        await stopping
        await serving
        await other.send("two")
        serving = asyncio.create_task(agent.serve())
        assert messages(await until(other, ended)) == ["You said: two"]
        await agent.stop()
        await serving


async def test_survives_a_killed_server() -> None:
    server = Server()
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
            assert ending(await until(room, ended)).outcome == "interrupted"
            await room.send("are you back?")
            assert messages(await until(room, ended)) == ["You said: are you back?"]
            assert len(cancelled) == 1
    finally:
        server.stop()


async def test_a_turn_that_waits_for_people_outlives_the_server() -> None:
    server = Server()
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


async def test_many_turns_at_once(server: Server) -> None:
    agent = Agent("oz", url=server.url, turns=64)

    @agent.turn
    async def answer(turn: Interface) -> str:
        for n in range(20):
            await turn.internal_monologue(f"thought {n}")
        async with turn.message() as message:
            for n in range(50):
                await message.write(f"{n} ")
        return turn.user_message

    async with talking(agent, server) as (client, _):

        async def talk(n: int) -> None:
            room = client.attach(await client.create_session("oz"), after=0)
            for round in range(3):
                await room.send(f"{n}.{round}")
                seen = await until(room, ended)
                assert messages(seen)[-1] == f"{n}.{round}"
                assert sum(isinstance(frame.event, events.Thought) for frame in seen) == 20
            room.leave()

        await asyncio.gather(*map(talk, range(32)))
