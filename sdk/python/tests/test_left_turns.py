"""Turns that one program leaves to the next, against the real server."""

import asyncio

from support import RealServer, ended, messages, soon, until

from thoughtwire import Agent, Client, Interface


def program(server: RealServer, name: str, worker: str, ran: list[str]) -> Agent:
    """A program that is stuck in its second call, unless it goes on with a turn."""
    agent = Agent(name, url=server.url, worker=worker, resumable=True)

    @agent.turn
    async def answer(turn: Interface) -> str:
        async def look(call: str) -> str:
            ran.append("look")
            if not turn.resumed:
                await asyncio.Event().wait()
            return "looked"

        await turn.call_once("pay", {}, lambda call: ran.append("pay"))
        return str(await turn.call_once("look", {}, look, "safe"))

    return agent


async def test_a_stopped_program_leaves_its_turn_to_another_one(server: RealServer) -> None:
    ran: list[str] = []
    first, second = (program(server, "lea", worker, ran) for worker in ("w-1", "w-2"))
    serving = asyncio.create_task(first.serve())
    session = (await first.offered()).main_session
    assert session
    async with Client(server.url) as client:
        room = client.attach(session, after=0)
        await room.send("go")
        await soon(lambda: ran == ["pay", "look"])
        also = asyncio.create_task(second.serve())
        await second.offered()
        await first.stop(grace=0)
        await serving
        seen = await until(room, ended)
    assert messages(seen) == ["looked"]
    assert ran == ["pay", "look", "look"]
    await second.stop()
    await also


async def test_a_process_that_comes_back_as_the_same_worker_repeats_no_call_unasked(
    server: RealServer,
) -> None:
    ran: list[str] = []
    serving = asyncio.create_task((first := program(server, "mia", "w-1", ran)).serve())
    session = (await first.offered()).main_session
    assert session
    async with Client(server.url) as client:
        await client.edit_agent("mia", permissions={"look": "ask"})
        room = client.attach(session, after=0)
        await room.send("go")
        asked = await until(room, lambda frame: frame.event.kind == "approval_asked")
        await room.decide(asked[-1].event.call, "approved")  # type: ignore[union-attr]
        await soon(lambda: ran == ["pay", "look"])
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        serving = asyncio.create_task((second := program(server, "mia", "w-1", ran)).serve())
        seen = await until(room, ended)
    assert messages(seen) == ["looked"]
    assert ran == ["pay", "look", "look"]
    # It ran before, so that the log must tell that it runs again.
    assert [frame.event.kind for frame in seen].count("tool_retried") == 1
    await second.stop()
    await serving
