"""Refused verbs, failed turns and invalid arguments of a worker."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support import scripted
from worker_peer import acks, offered, runs, takes_offer

from thoughtwire import (
    Agent,
    FailedError,
    Interface,
    RefusedError,
    Waiting,
)


async def test_a_refusal_is_raised_by_the_verb_that_waits_or_by_the_next_one(
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
            with pytest.raises(ValueError, match="as JSON"):
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
            # Only the log has the details.
            assert (
                failed["reason"] == "The agent could not say what it wanted to; its log has more."
            )
            assert "`text`!" in caplog.text and "Traceback" in caplog.text


async def test_an_error_fails_the_turn_without_exposing_its_text() -> None:
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


async def test_fails_a_turn_after_a_refused_verb() -> None:
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
            # A verb of another turn shows that the refusal has arrived.
            await runs(peer, "t-2")
            await peer.hears("tool_returned")
            refused.set()
            assert (await peer.hears("fail"))["reason"] == "There is no tea."


async def test_invalid_arguments_raise_at_once_and_send_nothing() -> None:
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


async def test_fails_a_turn_whose_reason_or_last_message_is_too_long() -> None:
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
