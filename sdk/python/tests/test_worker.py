"""A worker against a scripted server: its offer, and turns that run through."""

import asyncio

import pytest
from support import scripted, soon
from worker_peer import acks, offered, runs, takes_offer

from thoughtwire import (
    Agent,
    ClosedError,
    EndedError,
    Interface,
    RefusedError,
    blocking,
)


async def test_offers_its_settings_and_answers() -> None:
    async with scripted() as server:
        agent = Agent(
            "ada", url=server.url, worker="w-1", turns=3, history=5, memory=True, cursors={"s-1": 7}
        )

        @agent.turn
        async def answer(turn: Interface) -> str:
            assert (turn.session, turn.turn, turn.instructions) == ("s-1", "t-1", "Be brief.")
            assert [block.label for block in turn.memory] == ["human"]
            return f"You said: {turn.user_message}"

        serving = asyncio.create_task(agent.serve())
        peer = await server.greets()
        offer = await takes_offer(peer)
        del offer["id"]
        assert offer == {
            "type": "offer",
            "agent": "ada",
            "worker": "w-1",
            "turns": 3,
            "history": 5,
            "memory": True,
            "cursors": {"s-1": 7},
        }
        assert (await agent.offered()).main_session == "s-1"
        await runs(
            peer, instructions="Be brief.", memory=[{"label": "human", "text": "Bo", "limit": 100}]
        )
        assert (await acks(peer, "finish"))["text"] == "You said: hello"
        stopping = asyncio.create_task(agent.stop())
        assert (await peer.hears("offer"))["turns"] == 0
        await stopping
        await serving


async def test_waits_for_the_ack_of_a_call_and_pipelines_other_verbs() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)
        said = 0
        called = False

        @agent.turn
        async def answer(turn: Interface) -> None:
            nonlocal said, called
            for n in range(100):
                await turn.internal_monologue(str(n))
                said += 1
            await turn.tool_called("door", {})
            called = True

        async with offered(agent, server) as peer:
            await runs(peer)
            thoughts = [await peer.hears("internal_monologue") for _ in range(64)]
            assert said == 64
            for frame in thoughts:
                await peer.say(type="ack", id=frame["id"], seq=1)
            for _ in range(36):
                await acks(peer, "internal_monologue")
            call = await peer.hears("tool_called")
            assert not called
            await peer.say(type="ack", id=call["id"], seq=1)
            await acks(peer, "finish")
            assert called


async def test_answers_inputs_that_joined_the_turn_in_the_same_turn() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)

        @agent.turn
        async def answer(turn: Interface) -> str:
            return f"{len(turn.inputs)}: {turn.user_message}"

        async with offered(agent, server) as peer:
            await runs(peer)
            steered = [
                {"item": "i-8", "text": "and"},
                {"item": "i-9", "text": "more", "attachments": ["f"]},
            ]
            assert (await acks(peer, "finish", steered=steered))["text"] == "1: hello"
            assert (await acks(peer, "finish"))["text"] == "2: and\n\nmore"


async def test_a_plain_function_runs_on_a_thread_and_sees_the_end_of_its_turn() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)
        ends: list[str] = []

        @agent.turn
        def answer(turn: blocking.Interface) -> str:
            with turn.thought() as thought:
                thought.write("Hm.")
            turn.status("thinking")
            try:
                turn.approval(turn.tool_called("door"))
            except EndedError:
                assert turn.ended
                ends.append(turn.turn)
            turn.close()
            return "late"

        async with offered(agent, server) as peer:
            await runs(peer)
            await peer.hears("delta")
            await acks(peer, "internal_monologue")
            await peer.hears("status")
            await acks(peer, "tool_called")
            await acks(peer, "approval")
            await peer.say(type="cancel", session="s-1", turn="t-1")
            await soon(lambda: ends == ["t-1"])


async def test_ends_when_the_server_refuses_or_ends_the_offer() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url, worker="w-1")
        agent.turn(lambda turn: None)
        serving = asyncio.create_task(agent.serve())
        peer = await server.greets()
        offer = await peer.hears("offer")
        await peer.say(
            type="refused",
            id=offer["id"],
            code="not_offered",
            reason="it is the server's",
            retry=False,
        )
        with pytest.raises(RefusedError) as refused:
            await serving
        assert refused.value.code == "not_offered"
        serving = asyncio.create_task(agent.serve())
        peer = await server.greets()
        await takes_offer(peer)
        await peer.say(
            type="offer_ended", agent="a-1", worker="w-1", reason="another connection offers as w-1"
        )
        with pytest.raises(ClosedError, match="another connection"):
            await serving


async def test_an_abandoned_wait_can_be_resumed() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)

        @agent.turn
        async def answer(turn: Interface) -> str:
            call = await turn.tool_called("door", {})
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(turn.approval(call), 0.1)
            with pytest.raises(RefusedError, match="waits for its owner"):
                await turn.tool_returned(call, "open")
            assert await turn.approval(call) == "expired"
            # A call that was answered can be asked about again.
            return await turn.approval(call)

        async with offered(agent, server) as peer:
            await runs(peer)
            call = (await acks(peer, "tool_called"))["id"]
            await acks(peer, "approval")
            await asyncio.sleep(0.2)
            await peer.say(type="approval_settled", turn="t-1", call=call, decision="expired")
            await acks(peer, "approval")
            await peer.say(type="approval_settled", turn="t-1", call=call, decision="approved")
            assert (await acks(peer, "finish"))["text"] == "approved"


async def test_offers_sixteen_async_turns_or_one_on_a_thread_and_logs_it_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    async with scripted() as server:
        for function, turns in ((lambda turn: None, 1), (_says_nothing, 16)):
            agent = Agent("ada", url=server.url)
            agent.turn(function)
            serving = asyncio.create_task(agent.serve())
            peer = await server.greets()
            assert (await takes_offer(peer))["turns"] == turns
            await agent.offered()
            await peer.breaks()
            peer = await server.greets()
            await takes_offer(peer)
            stopping = asyncio.create_task(agent.stop())
            await takes_offer(peer)
            await stopping
            await serving
            told = [record.message for record in caplog.records if "offered" in record.message]
            assert [" again " in one for one in told] == [False, True], told
            caplog.clear()


async def _says_nothing(turn: Interface) -> None:
    pass
