"""A worker whose connection breaks, and a process that follows another one."""

import asyncio

import pytest
from support import scripted, soon
from worker_peer import AT, acks, offered, runs, takes_offer

from thoughtwire import (
    Agent,
    EndedError,
    Interface,
)


async def test_resends_unacknowledged_verbs_and_missing_deltas() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)
        more, whole = asyncio.Event(), asyncio.Event()

        @agent.turn
        async def answer(turn: Interface) -> None:
            await turn.internal_monologue("one")
            async with turn.thought() as thought:
                await thought.write("two, whole")
            async with turn.message() as message:
                for piece in ("a", "b", "c"):
                    await message.write(piece)
                await turn.usage(1, 2)
                await more.wait()
                await message.write("d")
                await whole.wait()

        async with offered(agent, server) as peer:
            await runs(peer)
            one = await acks(peer, "internal_monologue")
            delta = await peer.hears("delta")
            two = await peer.hears("internal_monologue")
            assert delta["item"] == two["id"] and one["id"] != two["id"]
            pieces = [await peer.hears("delta") for _ in "abc"]
            await peer.hears("usage")
            await peer.breaks()
            peer = await server.greets()
            await takes_offer(peer, "t-1")
            # Said before the turn is resumed, and therefore sent after all that came before.
            more.set()
            await runs(peer, resumed=True, open={pieces[0]["item"]: 2})
            assert (await peer.hears("usage"))["output_tokens"] == 2
            # The whole thought again without its delta, and the message from its third piece on.
            assert await acks(peer, "internal_monologue") == two
            assert await peer.hears("delta") == pieces[2]
            last = await peer.hears("delta")
            assert (last["n"], last["text"]) == (3, "d")
            whole.set()
            said = await acks(peer, "assistant_message")
            assert (said["id"], said["text"]) == (last["item"], "abcd")
            assert "text" not in await acks(peer, "finish")


async def test_cancels_turns_that_the_server_cancels_or_no_longer_lists() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url, turns=2)
        begins: list[str] = []
        ends: list[str] = []

        @agent.turn
        async def answer(turn: Interface) -> None:
            begins.append(turn.turn)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                with pytest.raises(EndedError):
                    await turn.assistant_message("too late")
                ends.append(turn.turn)
                raise

        async with offered(agent, server) as peer:
            await runs(peer, "t-1")
            await runs(peer, "t-2")
            await soon(lambda: len(begins) == 2)
            await peer.say(type="cancel", session="s-1", turn="t-1")
            await soon(lambda: ends == ["t-1"])
            await peer.breaks()
            peer = await server.greets()
            await takes_offer(peer)
            await soon(lambda: ends == ["t-1", "t-2"])
            # A turn that is cancelled at once does not even begin.
            await runs(peer, "t-3")
            await peer.say(type="cancel", session="s-1", turn="t-3")
            await runs(peer, "t-4")
            await soon(lambda: "t-4" in begins)


async def test_resumes_a_turn_of_another_process_only_with_a_resuming_function() -> None:
    waiting = [{"call": "c-1", "name": "door", "awaits": "approval"}]
    called = {"kind": "tool_called", "call": "c-1", "name": "door", "args": {}}
    history = [{"seq": 4, "at": AT, "turn": "t-1", "event": called}]
    async with scripted() as server:
        agent = Agent("ada", url=server.url)

        @agent.turn
        async def answer(turn: Interface) -> str:
            return "fresh"

        async with offered(agent, server) as peer:
            await runs(peer, resumed=True, waiting=waiting, history=history)
            failed = await acks(peer, "fail")
            assert failed["code"] == "agent_restarted" and "restarted" in failed["reason"]
            await runs(peer, "t-2")
            assert (await acks(peer, "finish"))["text"] == "fresh"

        @agent.turn(resumes=True)
        async def resume(turn: Interface) -> str:
            assert turn.resumed and turn.history[0].event.kind == "tool_called"
            # The call waits already, so nobody is asked again.
            decision = await turn.approval(turn.waiting[0])
            await turn.tool_returned(turn.waiting[0], "shut")
            return decision

        async with offered(agent, server) as peer:
            await runs(peer, resumed=True, waiting=waiting, history=history)
            await peer.say(type="approval_settled", turn="t-1", call="c-1", decision="denied")
            assert (await acks(peer, "tool_returned"))["call"] == "c-1"
            assert (await acks(peer, "finish"))["text"] == "denied"


async def test_gets_decisions_that_were_made_while_disconnected() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)

        @agent.turn
        async def answer(turn: Interface) -> str:
            call = await turn.tool_called("door", {})
            decision = await turn.approval(call, timeout=60)
            ran = await turn.client_runs(call)
            return f"{decision}, {ran.text}"

        async with offered(agent, server) as peer:
            await runs(peer)
            call = (await acks(peer, "tool_called"))["id"]
            assert (await acks(peer, "approval"))["timeout_ms"] == 60_000
            await peer.breaks()
            peer = await server.greets()
            await takes_offer(peer, "t-1")
            settled = {"kind": "approval_settled", "call": call, "decision": "approved"}
            history = [{"seq": 5, "at": AT, "turn": "t-1", "event": settled}]
            await runs(peer, resumed=True, history=history)
            await acks(peer, "client_runs")
            await peer.say(
                type="tool_returned", turn="t-1", call=call, status="success", text="open"
            )
            assert (await acks(peer, "finish"))["text"] == "approved, open"


async def test_begins_a_turn_whose_run_was_lost_with_the_connection() -> None:
    started = {"seq": 2, "at": AT, "turn": "t-1", "event": {"kind": "turn_started", "input": "i-1"}}
    async with scripted() as server:
        agent = Agent("ada", url=server.url)

        @agent.turn
        async def answer(turn: Interface) -> str:
            return "begun"

        async with offered(agent, server) as peer:
            await agent.offered()
            await peer.breaks()
            peer = await server.greets()
            await takes_offer(peer, "t-1")
            await runs(peer, resumed=True, history=[started])
            assert (await acks(peer, "finish"))["text"] == "begun"


async def test_resends_verbs_that_a_stopping_server_refused() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)

        @agent.turn
        async def answer(turn: Interface) -> str:
            await turn.internal_monologue("Hm.")
            await turn.tool_called("door", {})
            return "done"

        async with offered(agent, server) as peer:
            await runs(peer)
            said = [await peer.hears("internal_monologue"), await peer.hears("tool_called")]
            for frame in said:
                await peer.say(
                    type="refused", id=frame["id"], code="stopping", reason="later", retry=True
                )
            await peer.breaks()
            peer = await server.greets()
            await takes_offer(peer, "t-1")
            # The turn is listed, but waits for a free place: its run comes later.
            await asyncio.sleep(0.05)
            await runs(peer, resumed=True)
            assert [await acks(peer, "internal_monologue"), await acks(peer, "tool_called")] == said
            assert (await acks(peer, "finish"))["text"] == "done"
