"""Offered agents against the real server, with clients that talk to them."""

import asyncio

import pytest
from support import RealServer, ended, ending, messages, shown_until, soon, talking, until

from thoughtwire import (
    Agent,
    Client,
    ClosedError,
    EndedError,
    FailedError,
    Interface,
    RefusedError,
    Tool,
    ToolDeclaration,
    blocking,
    events,
)
from thoughtwire.frames import Delta, EventFrame, Partial, Status


async def test_everything_an_agent_says_is_in_the_log_in_order(server: RealServer) -> None:
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


async def test_history_comes_as_requested(server: RealServer) -> None:
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


async def test_a_cancelled_turn_cancels_its_coroutine(server: RealServer) -> None:
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


async def test_a_plain_function_runs_on_a_thread_and_sees_the_end_of_its_turn(
    server: RealServer,
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


async def test_errors_fail_the_turn_without_exposing_their_text(server: RealServer) -> None:
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


async def test_asks_for_approval_and_lets_clients_run_tools(server: RealServer) -> None:
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
        # The server has asked already, so nobody is asked again.
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


async def test_inputs_that_join_a_turn_are_answered_in_it(server: RealServer) -> None:
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


async def test_reports_an_agent_with_its_own_model_or_a_deleted_one(
    server: RealServer,
) -> None:
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


async def test_inputs_wait_without_a_worker_and_a_stopping_one_takes_no_new_ones(
    server: RealServer,
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


async def test_many_turns_at_once(server: RealServer) -> None:
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
