"""Calls of a turn that starts over, against a scripted server."""

import asyncio
from typing import Any

import pytest
from support import ScriptedPeer, scripted
from worker_peer import AT, acks, offered, runs, takes_offer

from thoughtwire import (
    Agent,
    CallFailed,
    Interface,
    OutcomeUnknown,
    RefusedError,
    ToolDeclaration,
    blocking,
    events,
)
from thoughtwire.frames import Replay

PAY: dict[str, Any] = {"euros": 5}


def past(*own: dict[str, Any], begun: bool = True) -> list[dict[str, Any]]:
    """The records of a turn that was interrupted."""
    kinds: list[dict[str, Any]] = [{"kind": "turn_started", "input": "i-t-1"}] if begun else []
    kinds += [*own, {"kind": "turn_resumed", "attempt": 1, "reason": "worker_lost"}]
    return [
        {"seq": seq, "at": AT, "turn": "t-1", "event": event} for seq, event in enumerate(kinds, 3)
    ]


def called(call: str, args: dict[str, Any] = PAY) -> dict[str, Any]:
    return {"kind": "tool_called", "call": call, "name": "pay", "args": args}


def returned(call: str, text: str, status: str = "success", **more: Any) -> dict[str, Any]:
    returned = {"kind": "tool_returned", "call": call, "name": "pay", "status": status}
    return {**returned, "text": text, **more}


def asked(call: str, about: str) -> dict[str, Any]:
    return {"kind": "approval_asked", "call": call, "about": about, "expires_at": AT}


def settled(call: str, decision: str) -> dict[str, Any]:
    return {"kind": "approval_settled", "call": call, "decision": decision, "by": "owner"}


async def resumes(
    peer: ScriptedPeer, *own: dict[str, Any], begun: bool = True, **more: Any
) -> None:
    await runs(peer, resumed=True, attempt=1, history=past(*own, begun=begun), **more)


class Payer:
    """An agent that pays, and says what came of it."""

    def __init__(
        self,
        url: str,
        replay: Replay | None = None,
        *,
        declared: Replay | None = None,
        times: int = 1,
    ) -> None:
        self.paid: list[str] = []
        tools = (ToolDeclaration(name="pay", replay=declared), ToolDeclaration(name="look"))
        self.agent = Agent("ada", url=url, worker="w-1", resumable=True, tools=tools)

        @self.agent.turn
        async def answer(turn: Interface) -> str:
            outcomes = []
            for _ in range(times):
                try:
                    outcomes.append(await turn.call_once("pay", PAY, self.pay, replay))
                except (CallFailed, OutcomeUnknown, RefusedError) as error:
                    outcomes.append(f"{type(error).__name__}: {error}")
            return repr(outcomes)

    def pay(self, call: str) -> str:
        self.paid.append(call)
        return "paid"


async def test_a_resumable_agent_starts_over_with_what_it_has_said() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url, resumable=True, history=5)

        @agent.turn
        async def answer(turn: Interface) -> str:
            kinds = [record.event.kind for record in turn.so_far]
            return f"{turn.resumed} {turn.attempt} {' '.join(kinds)}"

        serving = asyncio.create_task(agent.serve())
        peer = await server.greets()
        assert (await takes_offer(peer))["resumable"] is True
        await runs(peer, "t-0")
        assert (await acks(peer, "finish"))["text"] == "False 0 "
        before = {"seq": 1, "at": AT, "turn": "t-0", "event": returned("c-0", "paid")}
        thought = {"kind": "thought", "item": "i-5", "text": "Hm.", "complete": True}
        await runs(peer, resumed=True, attempt=1, history=[before, *past(thought)])
        text = "True 1 turn_started thought turn_resumed"
        assert (await acks(peer, "finish"))["text"] == text
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_inputs_that_join_a_resumed_turn_are_not_resumed() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url, resumable=True)

        @agent.turn
        async def answer(turn: Interface) -> str:
            return f"{turn.resumed}"

        async with offered(agent, server) as peer:
            await resumes(peer)
            steered = [{"item": "i-8", "text": "And?"}]
            assert (await acks(peer, "finish", steered=steered))["text"] == "True"
            assert (await acks(peer, "finish"))["text"] == "False"


@pytest.mark.parametrize("kind", ["message", "thought"])
async def test_a_resumed_turn_continues_a_cut_text(kind: str) -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url, resumable=True)

        @agent.turn
        async def answer(turn: Interface) -> None:
            cut = turn.so_far[1].event
            assert isinstance(cut, (events.Message, events.Thought)) and not cut.complete
            stream = turn.message if kind == "message" else turn.thought
            async with stream(continues=cut.item) as rest:
                await rest.write("ten")
                await rest.write("ce.")
            whole = turn.assistant_message if kind == "message" else turn.internal_monologue
            await whole("tence.", continues=cut.item)

        async with offered(agent, server) as peer:
            cut = {"kind": kind, "item": "i-1", "text": "Half a sen", "complete": False}
            await resumes(peer, cut)
            first, second = await peer.hears("delta"), await peer.hears("delta")
            assert (first["continues"], second.get("continues")) == ("i-1", None)
            verb = "assistant_message" if kind == "message" else "internal_monologue"
            for _ in range(2):
                whole = await acks(peer, verb)
                assert (whole["text"], whole["continues"]) == ("tence.", "i-1")
            await acks(peer, "finish")


async def test_a_first_run_announces_each_call_makes_it_and_sends_its_result() -> None:
    async with scripted() as server:
        payer = Payer(server.url, times=2)
        async with offered(payer.agent, server) as peer:
            await runs(peer)
            for n in range(2):
                call = await peer.hears("tool_called")
                assert (call["name"], call["args"], len(payer.paid)) == ("pay", PAY, n)
                await peer.say(type="ack", id=call["id"], seq=1)
                result = await acks(peer, "tool_returned")
                assert (result["call"], result["status"], result["text"]) == (
                    call["id"],
                    "success",
                    "paid",
                )
                assert payer.paid[n] == call["id"]
            assert (await acks(peer, "finish"))["text"] == "['paid', 'paid']"


async def test_results_of_the_past_are_returned_in_order_and_later_calls_are_made() -> None:
    async with scripted() as server:
        payer = Payer(server.url, times=4)
        async with offered(payer.agent, server) as peer:
            await resumes(
                peer,
                called("c-0", {"euros": 6}),
                called("c-1"),
                called("c-2"),
                returned("c-2", "second", content={"receipt": 2}),
                returned("c-1", "no money", "error"),
                called("c-3"),
                returned("c-3", "lost", "unknown"),
            )
            call = await acks(peer, "tool_called")
            assert (await acks(peer, "tool_returned"))["call"] == call["id"]
            said = (await acks(peer, "finish"))["text"]
            unknown = "OutcomeUnknown: It is not known whether pay took effect: lost"
            assert said == repr(["CallFailed: no money", {"receipt": 2}, unknown, "paid"])
            assert payer.paid == [call["id"]]


async def test_a_safe_call_in_doubt_is_made_again_once_that_is_on_disk() -> None:
    async with scripted() as server:
        payer = Payer(server.url, "safe")
        async with offered(payer.agent, server) as peer:
            await resumes(peer, called("c-1"), unknown=["c-1"])
            retried = await peer.hears("tool_retried")
            assert (retried["call"], payer.paid) == ("c-1", [])
            await peer.say(type="ack", id=retried["id"], seq=9)
            assert (await acks(peer, "tool_returned"))["call"] == "c-1"
            assert (await acks(peer, "finish"))["text"] == "['paid']"
            assert payer.paid == ["c-1"]


async def test_a_call_in_doubt_that_is_never_repeated_is_returned_as_unknown() -> None:
    async with scripted() as server:
        payer = Payer(server.url, "never")
        async with offered(payer.agent, server) as peer:
            await resumes(peer, called("c-1"), unknown=["c-1"])
            result = await acks(peer, "tool_returned")
            assert (result["call"], result["status"]) == ("c-1", "unknown")
            assert "OutcomeUnknown" in (await acks(peer, "finish"))["text"]
            assert payer.paid == []


@pytest.mark.parametrize(
    ("declared", "given", "verb"),
    [
        ("safe", None, "tool_retried"),
        ("never", None, "tool_returned"),
        ("safe", "never", "tool_returned"),
        (None, None, "approval"),
    ],
)
async def test_a_declared_tool_has_its_declared_class_unless_the_call_names_one(
    declared: Replay | None, given: Replay | None, verb: str
) -> None:
    async with scripted() as server:
        payer = Payer(server.url, given, declared=declared)
        async with offered(payer.agent, server) as peer:
            await resumes(peer, called("c-1"), unknown=["c-1"])
            assert (await peer.hears(verb))["call"] == "c-1"
            assert payer.paid == []


@pytest.mark.parametrize(
    ("answer", "said", "paid"),
    [
        ({"type": "approval_settled", "decision": "approved"}, "paid", ["c-1"]),
        ({"type": "tool_returned", "status": "success", "text": "done"}, "done", []),
        ({"type": "tool_returned", "status": "error", "text": "no"}, "CallFailed: no", []),
        ({"type": "tool_returned", "status": "unknown", "text": "?"}, "OutcomeUnknown", []),
    ],
)
async def test_the_owner_is_asked_about_a_call_in_doubt(
    answer: dict[str, str], said: str, paid: list[str]
) -> None:
    async with scripted() as server:
        payer = Payer(server.url)
        async with offered(payer.agent, server) as peer:
            # Its first run was approved. That is no answer to the question about a second one.
            approved = (asked("c-1", "run"), settled("c-1", "approved"))
            waiting = [{"call": "c-1", "name": "pay", "awaits": "approval"}]
            await resumes(peer, called("c-1"), *approved, unknown=["c-1"], waiting=waiting)
            earlier = {"type": "approval_settled", "turn": "t-1", "call": "c-1"}
            await peer.say(**earlier, decision="approved")
            question = await peer.hears("approval")
            assert (question["call"], question["about"]) == ("c-1", "retry")
            await peer.say(**earlier, decision="approved")
            await peer.say(type="ack", id=question["id"], seq=9)
            assert payer.paid == []
            await peer.say(turn="t-1", call="c-1", **answer)
            if paid:
                assert (await acks(peer, "tool_returned"))["call"] == "c-1"
            assert said in (await acks(peer, "finish"))["text"]
            assert payer.paid == paid


async def test_the_answer_to_a_question_of_an_earlier_run_is_awaited_without_asking_again() -> None:
    for decision, about in (("approved", "retry"), ("approved", "run"), ("denied", "run")):
        async with scripted() as server:
            payer = Payer(server.url)
            async with offered(payer.agent, server) as peer:
                waiting = [{"call": "c-1", "name": "pay", "awaits": "approval"}]
                await resumes(peer, called("c-1"), asked("c-1", about), waiting=waiting)
                await peer.say(type="approval_settled", turn="t-1", call="c-1", decision=decision)
                if decision == "approved":
                    assert (await acks(peer, "tool_returned"))["call"] == "c-1"
                said = (await acks(peer, "finish"))["text"]
                assert ("paid" if decision == "approved" else "RefusedError") in said


async def test_an_answer_that_came_while_there_was_no_connection_counts() -> None:
    async with scripted() as server:
        payer = Payer(server.url)
        async with offered(payer.agent, server) as peer:
            own = [called("c-1"), asked("c-1", "run"), settled("c-1", "approved")]
            await resumes(peer, *own, unknown=["c-1"])
            question = await peer.hears("approval")
            await peer.breaks()
            peer = await server.greets()
            await takes_offer(peer, "t-1")
            # Not asked yet: the earlier approval is no answer.
            await resumes(peer, *own, unknown=["c-1"])
            assert (await peer.hears("approval"))["id"] == question["id"]
            assert payer.paid == []
            await peer.breaks()
            peer = await server.greets()
            await takes_offer(peer, "t-1")
            own += [asked("c-1", "retry"), settled("c-1", "approved")]
            await resumes(peer, *own, unknown=["c-1"])
            await acks(peer, "approval")
            assert (await acks(peer, "tool_returned"))["call"] == "c-1"
            assert "paid" in (await acks(peer, "finish"))["text"]


async def test_without_the_whole_past_a_call_is_not_made() -> None:
    async with scripted() as server:
        payer = Payer(server.url)
        async with offered(payer.agent, server) as peer:
            await resumes(peer, begun=False)
            assert "OutcomeUnknown" in (await acks(peer, "finish"))["text"]
            assert payer.paid == []


async def test_an_error_of_the_call_is_returned_and_raised_as_it_is() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url)

        async def fails(call: str) -> str:
            raise KeyError("till")

        @agent.turn
        async def answer(turn: Interface) -> str:
            with pytest.raises(KeyError):
                await turn.call_once("pay", PAY, fails)
            with pytest.raises(TypeError):
                await turn.call_once("pay", PAY, lambda call: object())
            with pytest.raises(ValueError):
                await turn.call_once("pay", PAY, fails, "always")  # type: ignore[arg-type]
            return "caught"

        async with offered(agent, server) as peer:
            await runs(peer)
            for text in ("'till'", "Object of type object is not JSON serializable"):
                await acks(peer, "tool_called")
                result = await acks(peer, "tool_returned")
                assert (result["status"], result["text"]) == ("error", text)
            assert (await acks(peer, "finish"))["text"] == "caught"


async def test_a_plain_function_makes_calls_on_its_thread() -> None:
    async with scripted() as server:
        agent = Agent("ada", url=server.url, resumable=True)

        @agent.turn
        def answer(turn: blocking.Interface) -> str:
            first = turn.call_once("pay", PAY, lambda call: f"not {call}")
            second = turn.call_once("pay", PAY, lambda call: {"receipt": (1, 2)})
            none = turn.call_once("pay", PAY, lambda call: None)
            with pytest.raises(ZeroDivisionError):
                turn.call_once("pay", PAY, lambda call: 1 // 0)
            return repr([first, second, none])

        async with offered(agent, server) as peer:
            await resumes(peer, called("c-1"), returned("c-1", "paid"))
            results = []
            for _ in range(3):
                await acks(peer, "tool_called")
                results.append(await acks(peer, "tool_returned"))
            assert (results[0]["text"], results[0]["content"]) == (
                '{"receipt": [1, 2]}',
                {"receipt": [1, 2]},
            )
            assert [result["status"] for result in results] == ["success", "success", "error"]
            said = (await acks(peer, "finish"))["text"]
            assert said == repr(["paid", {"receipt": [1, 2]}, ""])


async def test_a_call_of_a_process_of_the_same_name_is_in_doubt_also_if_it_was_approved() -> None:
    async with scripted() as server:
        payer = Payer(server.url, "never")
        async with offered(payer.agent, server) as peer:
            own = [called("c-1"), asked("c-1", "run"), settled("c-1", "approved")]
            await resumes(peer, *own)
            assert (await acks(peer, "tool_returned"))["status"] == "unknown"
            assert "OutcomeUnknown" in (await acks(peer, "finish"))["text"]
        assert payer.paid == []


async def test_without_the_whole_past_no_result_of_another_call_is_taken() -> None:
    async with scripted() as server:
        payer = Payer(server.url)
        async with offered(payer.agent, server) as peer:
            await resumes(peer, called("c-2"), returned("c-2", "paid 2"), begun=False)
            assert "OutcomeUnknown" in (await acks(peer, "finish"))["text"]
        assert payer.paid == []
