"""An offered agent against a scripted server: what a real one does rarely, and in which order things go out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support import Peer, Scripted, scripted, soon
from websockets.exceptions import ConnectionClosed

from thoughtwire import (
    Agent,
    ClosedError,
    EndedError,
    FailedError,
    Interface,
    RefusedError,
    Waiting,
    blocking,
)

AT = "2026-01-01T00:00:00.000Z"


@asynccontextmanager
async def offered(agent: Agent, server: Scripted) -> AsyncIterator[Peer]:
    """The agent, served, with its first connection."""
    serving = asyncio.create_task(agent.serve())
    peer = await server.greets()
    await takes_offer(peer)
    yield peer
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def takes_offer(peer: Peer, *turns: str) -> Any:
    offer = await peer.hears("offer")
    agent = {"id": "a-1", "name": offer["agent"], "model": "offered"}
    await peer.say(
        type="ack",
        id=offer["id"],
        agent=agent,
        session="s-1",
        worker=offer["worker"],
        turns=list(turns),
    )
    return offer


async def runs(peer: Peer, turn: str = "t-1", text: str = "hello", **more: Any) -> None:
    input = {"item": f"i-{turn}", "text": text}
    await peer.say(type="run", agent="a-1", session="s-1", turn=turn, input=input, **more)


async def acks(peer: Peer, type: str, **more: Any) -> Any:
    frame = await peer.hears(type)
    await peer.say(type="ack", id=frame["id"], seq=1, **more)
    return frame


async def test_offers_what_it_was_made_with_and_answers() -> None:
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


async def test_says_again_what_was_not_acknowledged_and_goes_on_where_deltas_stopped() -> None:
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
            # Said while the turn is not resumed: goes out behind what comes before it.
            more.set()
            await runs(peer, resumed=True, open={pieces[0]["item"]: 2})
            assert (await peer.hears("usage"))["output_tokens"] == 2
            # The whole thought again, its delta not; of the message the third piece and what followed.
            assert await acks(peer, "internal_monologue") == two
            assert await peer.hears("delta") == pieces[2]
            last = await peer.hears("delta")
            assert (last["n"], last["text"]) == (3, "d")
            whole.set()
            said = await acks(peer, "assistant_message")
            assert (said["id"], said["text"]) == (last["item"], "abcd")
            assert "text" not in await acks(peer, "finish")


async def test_cancels_what_the_server_cancels_and_what_it_does_not_list_any_more() -> None:
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
            # Nothing was said in them, and what comes and goes at once is not even begun.
            await runs(peer, "t-3")
            await peer.say(type="cancel", session="s-1", turn="t-3")
            await runs(peer, "t-4")
            await soon(lambda: "t-4" in begins)


async def test_takes_up_a_turn_of_another_process_only_with_a_function_for_that() -> None:
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
            assert failed["code"] == "agent_restarted" and "anew" in failed["reason"]
            await runs(peer, "t-2")
            assert (await acks(peer, "finish"))["text"] == "fresh"

        @agent.turn(resumes=True)
        async def resume(turn: Interface) -> str:
            assert turn.resumed and turn.history[0].event.kind == "tool_called"
            # It waits already: it is not asked again.
            decision = await turn.approval(turn.waiting[0])
            await turn.tool_returned(turn.waiting[0], "shut")
            return decision

        async with offered(agent, server) as peer:
            await runs(peer, resumed=True, waiting=waiting, history=history)
            await peer.say(type="approval_settled", turn="t-1", call="c-1", decision="denied")
            assert (await acks(peer, "tool_returned"))["call"] == "c-1"
            assert (await acks(peer, "finish"))["text"] == "denied"


async def test_learns_what_was_settled_while_it_was_away() -> None:
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


async def test_waits_for_the_ack_of_a_call_and_pipelines_the_rest_within_a_window() -> None:
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


async def test_a_no_is_raised_where_somebody_waits_or_by_the_next_verb(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)
        codes: list[str] = []

        @agent.turn
        async def answer(turn: Interface) -> None:
            try:
                await turn.tool_called("rm", {})
            except RefusedError as refused:
                codes.append(refused.code)
            with pytest.raises(ValueError, match="no JSON"):
                await turn.tool_called("rm", {"what": object()})
            await turn.assistant_message("secret")

        async with offered(agent, server) as peer:
            await runs(peer)
            call = await peer.hears("tool_called")
            await peer.say(
                type="refused", id=call["id"], code="forbidden", reason="denied", retry=False
            )
            empty = await peer.hears("assistant_message")
            await peer.say(
                type="refused", id=empty["id"], code="empty_text", reason="`text`!", retry=False
            )
            failed = await acks(peer, "fail")
            assert codes == ["forbidden"] and failed["code"] == "empty_text"
            # Its insides are for the log.
            assert (
                failed["reason"] == "The agent could not say what it wanted to; its log has more."
            )
            assert "`text`!" in caplog.text and "Traceback" in caplog.text


async def test_an_error_ends_the_turn_with_a_clean_text() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)

        @agent.turn
        async def answer(turn: Interface) -> None:
            if turn.user_message == "tea":
                raise FailedError("There is no tea.", code="out_of_tea")
            raise RuntimeError("the password is xyzzy")

        async with offered(agent, server) as peer:
            await runs(peer, "t-1", "tea")
            failed = await acks(peer, "fail")
            assert (failed["code"], failed["reason"]) == ("out_of_tea", "There is no tea.")
            await runs(peer, "t-2")
            failed = await acks(peer, "fail")
            assert (
                "code" not in failed
                and "xyzzy" not in failed["reason"]
                and "Traceback" not in failed["reason"]
            )


async def test_a_plain_function_runs_on_a_thread_and_finds_that_its_turn_has_ended() -> None:
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


async def test_ends_when_the_server_will_not_have_the_offer() -> None:
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


async def test_stops_with_a_grace_and_fails_what_does_not_end_in_it() -> None:
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


async def test_stops_only_when_nothing_can_come_any_more() -> None:
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
        # Handed out before the server knew.
        await runs(peer, text="on its way")
        assert (await acks(peer, "finish"))["text"] == "on its way"
        await peer.say(
            type="ack", id=offer["id"], agent={"id": "a-1", "name": "ada"}, session="s-1", turns=[]
        )
        await stopping
        await serving


async def test_begins_a_turn_that_was_on_its_way_when_the_connection_broke() -> None:
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


async def test_fails_a_turn_also_when_something_in_it_was_refused() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)
        refused = asyncio.Event()

        @agent.turn
        async def answer(turn: Interface) -> None:
            await turn.tool_returned("nowhere", "42")
            await refused.wait()
            raise FailedError("There is no tea.")

        async with offered(agent, server) as peer:
            await runs(peer)
            returned = await peer.hears("tool_returned")
            await peer.say(
                type="refused",
                id=returned["id"],
                code="unknown_call",
                reason="no call",
                retry=False,
            )
            # What another turn says shows that the refusal was heard.
            await runs(peer, "t-2")
            await peer.hears("tool_returned")
            refused.set()
            assert (await peer.hears("fail"))["reason"] == "There is no tea."


async def test_a_mistake_is_raised_at_its_line_and_nothing_of_it_is_sent() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)
        door = Waiting(call="c-1", name="door", awaits="approval")

        @agent.turn
        async def answer(turn: Interface) -> str:
            wrong: Any = 42
            refused: dict[str, list[Callable[[], Awaitable[object]]]] = {
                "empty_text": [
                    lambda: turn.assistant_message(""),
                    lambda: turn.internal_monologue(""),
                ],
                "too_large": [
                    lambda: turn.assistant_message("x" * 1000),
                    lambda: turn.message().write("x" * 1000),
                ],
                "bad_request": [lambda: turn.tool_returned(door, "open")],
            }
            for code, says in refused.items():
                for say in says:
                    with pytest.raises(RefusedError) as no:
                        await say()
                    assert no.value.code == code and not no.value.retry
            for mistake in (
                lambda: turn.assistant_message(wrong),
                lambda: turn.status(wrong),
                lambda: turn.thought().write(wrong),
                lambda: turn.tool_called("door", wrong),
                lambda: turn.tool_returned("c-2", wrong),
                lambda: turn.approval(wrong),
                lambda: turn.client_runs("c-2", timeout=wrong.__str__()),
                lambda: turn.usage(1, wrong / 2),
            ):
                with pytest.raises(TypeError):
                    await mistake()
            for unfit in (
                lambda: turn.tool_returned("c-2", "", status=wrong),
                lambda: turn.approval("c-2", timeout=-1),
            ):
                with pytest.raises(ValueError):
                    await unfit()
            return "nothing said"

        @agent.turn(resumes=True)
        async def resume(turn: Interface) -> str:
            return await answer(turn)

        serving = asyncio.create_task(agent.serve())
        peer = await server.greets(frame_bytes=900)
        await takes_offer(peer)
        waiting = [{"call": "c-1", "name": "door", "awaits": "approval"}]
        await runs(peer, resumed=True, waiting=waiting)
        assert (await acks(peer, "finish"))["text"] == "nothing said"
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_fails_a_turn_also_when_its_reason_or_its_last_message_is_too_long() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)

        @agent.turn
        async def answer(turn: Interface) -> str:
            if turn.turn == "t-1":
                raise FailedError("x" * 1000)
            return "x" * 1000

        serving = asyncio.create_task(agent.serve())
        peer = await server.greets(frame_bytes=900)
        await takes_offer(peer)
        await runs(peer)
        assert (await acks(peer, "fail"))["reason"] == "The agent's program failed."
        await runs(peer, "t-2")
        assert (await acks(peer, "fail"))["code"] == "too_large"
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.parametrize("resumes", [True, False])
async def test_a_stop_leaves_turns_that_wait_for_people_where_they_are_taken_up(
    resumes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url, worker="w-1")

        async def answer(turn: Interface) -> str:
            call = await turn.tool_called("door", {})
            return await (turn.approval(call) if turn.turn == "t-1" else turn.client_runs(call))  # type: ignore

        agent.turn(resumes=resumes)(answer)
        serving = asyncio.create_task(agent.serve())
        peer = await server.greets()
        await takes_offer(peer)
        for turn, asks in (("t-1", "approval"), ("t-2", "client_runs")):
            await runs(peer, turn)
            await acks(peer, "tool_called")
            await acks(peer, asks)
        stopping = asyncio.create_task(agent.stop(grace=60 if resumes else 0.2))
        # Its turns are told, and another that waits for a place, which does not come.
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
        assert (
            "left to who offers the agent as the worker w-1" if resumes else "resumes=True"
        ) in caplog.text
        with pytest.raises(ConnectionClosed):
            await peer.hears("nothing more")


async def test_a_stop_does_not_leave_a_turn_that_does_something_beside_its_waiting() -> None:
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


async def test_what_a_stopping_server_refuses_is_said_again_when_it_is_back() -> None:
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
            # Told, but it waits for a place: its run comes later.
            await asyncio.sleep(0.05)
            await runs(peer, resumed=True)
            assert [await acks(peer, "internal_monologue"), await acks(peer, "tool_called")] == said
            assert (await acks(peer, "finish"))["text"] == "done"


async def test_who_stops_to_wait_may_ask_again() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)

        @agent.turn
        async def answer(turn: Interface) -> str:
            call = await turn.tool_called("door", {})
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(turn.approval(call), 0.1)
            with pytest.raises(RefusedError, match="waits for people"):
                await turn.tool_returned(call, "open")
            assert await turn.approval(call) == "expired"
            # One that was answered can be asked anew.
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


async def test_offers_sixteen_turns_in_a_loop_and_one_on_a_thread_and_tells_of_it_once(
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
