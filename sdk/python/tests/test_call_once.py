"""Calls that are made once over all attempts of a turn."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support import HERE, PATIENCE, RealServer, ended, ending, messages, scripted, soon, until
from worker_peer import AT, acks, offered, runs

from thoughtwire import (
    Agent,
    CallFailedError,
    Client,
    Interface,
    OutcomeUnknown,
    RefusedError,
    blocking,
    events,
)


def called(call: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"kind": "tool_called", "call": call, "name": "pay", "args": args or {}}


def returned(call: str, text: str, status: str = "success", **more: Any) -> dict[str, Any]:
    event = {"kind": "tool_returned", "call": call, "name": "pay", "status": status, "text": text}
    return {**event, **more}


def asked(call: str, about: str = "retry") -> dict[str, Any]:
    event = {"kind": "approval_asked", "call": call, "name": "pay", "expires_at": AT}
    return {**event, "about": about} if about == "retry" else event


def settled(call: str, decision: str) -> dict[str, Any]:
    return {"kind": "approval_settled", "call": call, "decision": decision}


def past(*happened: dict[str, Any]) -> list[dict[str, Any]]:
    started = {"kind": "turn_started", "input": "i-t-1"}
    return [
        {"seq": seq, "at": AT, "turn": "t-1", "event": event}
        for seq, event in enumerate([started, *happened], 3)
    ]


async def tool(call: str) -> str:
    return f"ran {call}"


async def run_once(
    history: list[dict[str, Any]],
    script: Callable[[Any], Awaitable[None]],
    function: Callable[[Interface], Awaitable[str]],
    **more: Any,
) -> str:
    """Runs a resumed turn. `script` plays the server. Returns the turn's last message."""
    async with scripted() as server:
        agent = Agent("ada", url=server.url, resumable=True)
        agent.turn(function)
        async with offered(agent, server) as peer:
            await runs(peer, resumed=True, attempt=1, history=history, **more)
            await script(peer)
            finish = await acks(peer, "finish")
    return str(finish["text"])


async def nothing(peer: Any) -> None:
    pass


async def test_calls_that_returned_are_not_run_again() -> None:
    history = past(
        called("c-1", {"euro": 5}),
        returned("c-1", "first"),
        called("c-2", {"euro": 5.0}),
        returned("c-2", "[2]", content=[2]),
        called("c-3"),
        returned("c-3", "no money", status="error"),
        called("c-4"),
        returned("c-4", "who knows", status="unknown"),
        called("c-5"),
        asked("c-5", "run"),
        settled("c-5", "denied"),
        returned("c-5", "The owner denied this call.", status="error"),
    )

    async def answer(turn: Interface) -> str:
        assert (turn.resumed, turn.attempt, len(turn.so_far)) == (True, 1, len(history))
        assert await turn.call_once("pay", {"euro": 5}, tool) == "first"
        assert await turn.call_once("pay", {"euro": 5}, tool) == [2]
        for error in (CallFailedError, OutcomeUnknown, RefusedError):
            with pytest.raises(error):
                await turn.call_once("pay", {}, tool)
        return str(await turn.call_once("pay", {}, tool))

    async def script(peer: Any) -> None:
        call = (await acks(peer, "tool_called"))["id"]
        done = await acks(peer, "tool_returned")
        assert (done["call"], done["text"]) == (call, f"ran {call}")

    assert (await run_once(history, script, answer)).startswith("ran ")


async def test_a_call_in_doubt_runs_again_if_it_is_safe() -> None:
    async def answer(turn: Interface) -> str:
        return str(await turn.call_once("pay", {}, tool, replay="safe"))

    async def script(peer: Any) -> None:
        again = await peer.hears("tool_retried")
        assert again["call"] == "c-1"
        await peer.say(type="ack", id=again["id"], seq=1)
        await acks(peer, "tool_returned")

    assert await run_once(past(called("c-1")), script, answer, unknown=["c-1"]) == "ran c-1"


async def test_a_call_in_doubt_that_must_not_run_again_is_unknown() -> None:
    async def answer(turn: Interface) -> str:
        with pytest.raises(OutcomeUnknown):
            await turn.call_once("pay", {}, tool, replay="never")
        return "asked the bank"

    async def script(peer: Any) -> None:
        assert (await acks(peer, "tool_returned"))["status"] == "unknown"

    assert await run_once(past(called("c-1")), script, answer) == "asked the bank"


@pytest.mark.parametrize("decision", ["approved", "done", "denied"])
async def test_the_owner_decides_about_a_call_in_doubt(decision: str) -> None:
    async def answer(turn: Interface) -> str:
        try:
            return str(await turn.call_once("pay", {}, tool, timeout=60))
        except CallFailedError as failed:
            return f"failed: {failed}"

    async def script(peer: Any) -> None:
        question = await peer.hears("approval")
        assert (question["about"], question["timeout_ms"]) == ("retry", 60_000)
        # The answer to an earlier question is not taken for the answer to this one.
        about = {"turn": "t-1", "call": "c-1"}
        await peer.say(type="approval_settled", decision="approved", **about)
        await peer.say(type="ack", id=question["id"], seq=1)
        if decision == "approved":
            await peer.say(type="approval_settled", decision="approved", **about)
            await acks(peer, "tool_returned")
        else:
            status = "success" if decision == "done" else "error"
            await peer.say(type="tool_returned", status=status, text="paid?", **about)

    history = past(called("c-1"), asked("c-1", "run"), settled("c-1", "approved"))
    expected = {"approved": "ran c-1", "done": "paid?", "denied": "failed: paid?"}
    assert await run_once(history, script, answer) == expected[decision]


async def test_an_open_question_is_not_asked_again() -> None:
    waiting = [{"call": "c-1", "name": "pay", "awaits": "approval"}]

    async def answer(turn: Interface) -> str:
        return str(await turn.call_once("pay", {}, tool))

    async def script(peer: Any) -> None:
        about = {"turn": "t-1", "call": "c-1"}
        await peer.say(type="approval_settled", decision="approved", **about)
        await acks(peer, "tool_returned")

    for about in ("run", "retry"):
        history = past(called("c-1"), asked("c-1", about))
        assert await run_once(history, script, answer, waiting=waiting) == "ran c-1"


async def test_with_a_cut_past_only_safe_calls_run() -> None:
    async def answer(turn: Interface) -> str:
        with pytest.raises(OutcomeUnknown):
            await turn.call_once("pay", {}, tool)
        return str(await turn.call_once("pay", {"a": 1}, tool, replay="safe"))

    async def script(peer: Any) -> None:
        await acks(peer, "tool_called")
        await acks(peer, "tool_returned")

    history = past(called("c-1"), returned("c-1", "first"))[2:]
    assert (await run_once(history, script, answer)).startswith("ran ")


async def test_the_first_run_raises_what_a_later_one_raises() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)

        @agent.turn
        def answer(turn: blocking.Interface) -> str:
            def fails(call: str) -> None:
                raise OSError("no bank")

            with pytest.raises(CallFailedError, match="no bank"):
                turn.call_once("pay", {}, fails)
            assert turn.call_once("pay", {}, lambda call: None) == ""
            assert turn.call_once("pay", {}, lambda call: (1, None)) == [1, None]
            return "done"

        async with offered(agent, server) as peer:
            await runs(peer)
            results = []
            for _ in range(3):
                await acks(peer, "tool_called")
                result = await acks(peer, "tool_returned")
                results.append((result["status"], result["text"], result.get("content")))
            assert results == [
                ("error", "no bank", None),
                ("success", "", None),
                ("success", "[1, null]", [1, None]),
            ]
            await acks(peer, "finish")


async def test_a_turn_outlives_its_killed_process(server: RealServer, tmp_path: Path) -> None:
    effects = tmp_path / "effects"

    def start() -> "subprocess.Popen[str]":
        env = {**os.environ, "THOUGHTWIRE_URL": server.url, "EFFECTS": str(effects)}
        return subprocess.Popen(
            [sys.executable, str(HERE / "once_worker.py")],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def line(process: "subprocess.Popen[str]") -> str:
        assert process.stdout
        reading = asyncio.to_thread(process.stdout.readline)
        return (await asyncio.wait_for(reading, PATIENCE)).strip()

    first = start()
    second: subprocess.Popen[str] | None = None
    try:
        session = await line(first)
        async with Client(server.url) as client:
            room = client.attach(session, after=0)
            await room.send("go")
            # The first process has paid, and is in the middle of the safe call.
            assert await line(first) == "waits"
            second = start()
            assert await line(second) == session
            first.kill()
            seen = await until(room, ended)
        assert ending(seen).outcome == "completed"
        assert messages(seen) == ["paid, looked, attempt 1"]
        assert [json.loads(one)["tool"] for one in effects.read_text().splitlines()] == [
            "pay",
            "look",
            "look",
        ]
        keys = [json.loads(one)["key"] for one in effects.read_text().splitlines()]
        assert keys[1] == keys[2]
        kinds = [frame.event.kind for frame in seen if isinstance(frame.event, events.Event)]
        assert kinds.count("tool_called") == kinds.count("tool_returned") == 2
        assert kinds.count("tool_retried") == kinds.count("turn_resumed") == 1
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.communicate()


async def test_a_stopped_program_leaves_its_turn_to_another_one(server: RealServer) -> None:
    ran: list[str] = []

    def program(worker: str) -> Agent:
        agent = Agent("bea", url=server.url, worker=worker, resumable=True)

        @agent.turn
        async def answer(turn: Interface) -> str:
            await turn.call_once("pay", {}, lambda call: ran.append(worker))
            if not turn.resumed:
                await asyncio.Event().wait()
            return f"{worker} goes on"

        return agent

    first, second = program("w-1"), program("w-2")
    serving = asyncio.create_task(first.serve())
    session = (await first.offered()).main_session
    assert session
    async with Client(server.url) as client:
        room = client.attach(session, after=0)
        await room.send("go")
        await soon(lambda: ran == ["w-1"])
        also = asyncio.create_task(second.serve())
        await second.offered()
        await first.stop(grace=0)
        await serving
        seen = await until(room, ended)
        assert messages(seen) == ["w-2 goes on"]
        assert ran == ["w-1"]
    await second.stop()
    await also
