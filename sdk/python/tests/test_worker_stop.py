"""A worker that stops: turns that end in time, fail, or are left open."""

import asyncio

import pytest
from support import scripted, soon
from websockets.exceptions import ConnectionClosed
from worker_peer import acks, runs, takes_offer

from thoughtwire import (
    Agent,
    Interface,
)


async def test_stop_fails_turns_that_outlast_the_grace_period() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url, turns=2)
        go = asyncio.Event()
        begins: list[str] = []

        @agent.turn
        async def answer(turn: Interface) -> str:
            begins.append(turn.turn)
            await (go.wait() if turn.turn == "t-1" else asyncio.Event().wait())
            return "in time"

        serving = asyncio.create_task(agent.serve())
        peer = await server.greets()
        await takes_offer(peer)
        await runs(peer, "t-1")
        await runs(peer, "t-2")
        await soon(lambda: len(begins) == 2)
        stopping = asyncio.create_task(agent.stop(grace=0.3))
        assert (await peer.hears("offer"))["turns"] == 0
        go.set()
        assert (await acks(peer, "finish"))["text"] == "in time"
        failed = await acks(peer, "fail")
        assert (failed["turn"], failed["code"]) == ("t-2", "agent_stopped")
        await stopping
        await serving


async def test_stop_waits_for_runs_that_are_on_their_way() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)

        @agent.turn
        async def answer(turn: Interface) -> str:
            return turn.user_message

        serving = asyncio.create_task(agent.serve())
        peer = await server.greets()
        await takes_offer(peer)
        await agent.offered()
        stopping = asyncio.create_task(agent.stop(grace=60))
        offer = await peer.hears("offer")
        # Assigned before the server knew of the stop.
        await runs(peer, text="on its way")
        assert (await acks(peer, "finish"))["text"] == "on its way"
        await peer.say(
            type="ack", id=offer["id"], agent={"id": "a-1", "name": "ada"}, session="s-1", turns=[]
        )
        await stopping
        await serving


@pytest.mark.parametrize("resumes", [True, False])
async def test_stop_leaves_waiting_turns_open_only_with_a_resuming_function(
    resumes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url, worker="w-1")

        async def answer(turn: Interface) -> str:
            call = await turn.tool_called("door", {})
            if turn.turn == "t-1":
                return await turn.approval(call)
            return (await turn.client_runs(call)).text

        agent.turn(resumes=resumes)(answer)
        serving = asyncio.create_task(agent.serve())
        peer = await server.greets()
        await takes_offer(peer)
        for turn, asks in (("t-1", "approval"), ("t-2", "client_runs")):
            await runs(peer, turn)
            await acks(peer, "tool_called")
            await acks(peer, asks)
        stopping = asyncio.create_task(agent.stop(grace=60 if resumes else 0.2))
        # The server lists its turns, and another one whose run never comes.
        offer = await peer.hears("offer")
        told = {
            "turns": ["t-1", "t-2", "t-9"],
            "session": "s-1",
            "agent": {"id": "a-1", "name": "ada"},
        }
        await peer.say(type="ack", id=offer["id"], **told)
        if not resumes:
            assert {(await acks(peer, "fail"))["turn"], (await acks(peer, "fail"))["turn"]} == {
                "t-1",
                "t-2",
            }
        began = asyncio.get_running_loop().time()
        await stopping
        await serving
        assert asyncio.get_running_loop().time() - began < 10
        expected = "offers the agent as the worker w-1" if resumes else "resumes=True"
        assert expected in caplog.text
        with pytest.raises(ConnectionClosed):
            await peer.hears("nothing more")


async def test_stop_waits_for_a_turn_that_also_does_other_work() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)
        go = asyncio.Event()

        async def open_window(turn: Interface) -> None:
            call = await turn.tool_called("window", {})
            await go.wait()
            await turn.tool_returned(call, "open")

        @agent.turn(resumes=True)
        async def answer(turn: Interface) -> None:
            call = await turn.tool_called("door", {})
            await asyncio.gather(turn.approval(call), open_window(turn))

        serving = asyncio.create_task(agent.serve())
        peer = await server.greets()
        await takes_offer(peer)
        await runs(peer)
        await acks(peer, "tool_called")
        for _ in range(2):
            frame = await peer.hears_any()
            await peer.say(type="ack", id=frame["id"], seq=1)
        stopping = asyncio.create_task(agent.stop(grace=60))
        await takes_offer(peer, "t-1")
        await asyncio.sleep(0.1)
        assert not stopping.done()
        go.set()
        await acks(peer, "tool_returned")
        await stopping
        await serving
