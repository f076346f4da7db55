"""The client against the real server."""

import asyncio

import pytest
from support import RealServer, ended, messages, shown_until, until

from thoughtwire import Agent, Client, ClosedError, RefusedError, Reset, Tool, connect, events
from thoughtwire.frames import CaughtUp, Delta, EventFrame, SessionListing


async def test_yields_every_event_once_and_in_order(
    server: RealServer,
) -> None:
    async with Client(server.url, name="sdk") as client:
        agent = await client.create_agent("ada")
        assert agent.name == "ada" and agent.main_session
        room = client.attach(agent.main_session, after=0)
        ack = await room.send("what is 6*7?")
        assert ack.disposition == "started"
        seen = await until(room, ended)
        assert [frame.seq for frame in seen] == list(range(1, len(seen) + 1))
        assert "42" in " ".join(messages(seen))
        said = next(frame.event for frame in seen if isinstance(frame.event, events.UserMessage))
        assert said.from_ == "sdk"
        assert room.cursor is not None and room.cursor.seq == seen[-1].seq
        with pytest.raises(ValueError, match=r"attached to .* already"):
            client.attach(agent.main_session)
        room.leave()
        assert not [shown async for shown in room if isinstance(shown, EventFrame)]
        # From a cursor, as after a restart.
        later = client.attach(agent.main_session, cursor=room.cursor)
        shown = await shown_until(later, lambda shown: isinstance(shown, CaughtUp))
        assert not any(isinstance(shown, (EventFrame, Reset)) for shown in shown)


async def test_shows_deltas_before_the_message_and_a_command_id_takes_effect_once(
    server: RealServer,
) -> None:
    async with Client(server.url) as client:
        session = (await client.create_agent("bo")).main_session
        assert session
        room = client.attach(session)
        await room.send("count to 20", id="once")
        shown = await shown_until(
            room, lambda shown: isinstance(shown, EventFrame) and ended(shown)
        )
        kinds = [
            f"delta {one.kind}" if isinstance(one, Delta) else one.event.kind
            for one in shown
            if isinstance(one, (Delta, EventFrame))
        ]
        assert kinds.index("delta message") < kinds.index("message")
        again = await room.send("count to 20", id="once")
        assert again.duplicate
        with pytest.raises(RefusedError) as refused:
            await room.send("something else", id="once")
        assert refused.value.code == "id_reused"


async def test_raises_what_the_server_refuses(server: RealServer) -> None:
    async with Client(server.url) as client:
        session = (await client.create_agent("cy")).main_session
        assert session
        with pytest.raises(RefusedError) as taken:
            await client.create_agent("cy")
        assert taken.value.code == "name_taken"
        room = client.attach(session)
        with pytest.raises(RefusedError) as empty:
            await room.send("   ")
        assert empty.value.code == "empty_text" and not empty.value.retry
        with pytest.raises(RefusedError) as large:
            await room.send("ä" * 700_000)
        assert large.value.code == "too_large"
        assert (await room.send("short")).disposition == "started"
        with pytest.raises(RefusedError) as nowhere:
            await anext(client.attach("nowhere"))
        assert nowhere.value.code == "unknown_session"
        with pytest.raises(RefusedError) as unknown:
            await client.agent("nobody/at all")
        assert unknown.value.code == "unknown_agent"


async def test_runs_tools_of_its_own_also_those_that_raise(server: RealServer) -> None:
    ran: list[str] = []

    def open_door(room: str) -> str:
        ran.append(room)
        if room == "cellar":
            raise RuntimeError("the cellar is locked")
        return f"the {room} is open"

    async def close_door(room: str) -> str:
        ran.append(room)
        return f"the {room} is closed"

    async with Client(server.url) as client:
        session = (await client.create_agent("dee")).main_session
        assert session
        parameters = {
            "type": "object",
            "properties": {"room": {"type": "string"}},
            "required": ["room"],
        }
        tools = {
            "open_door": Tool("Opens a door.", open_door, parameters),
            "close_door": Tool("Closes a door.", close_door, parameters),
        }
        room = client.attach(session, after=0, tools=tools)
        for name, where, came in [
            ("open_door", "attic", "the attic is open"),
            ("open_door", "cellar", "the cellar is locked"),
            ("close_door", "attic", "the attic is closed"),
        ]:
            await room.send(f'use {name} {{"room": "{where}"}}')
            assert came in " ".join(messages(await until(room, ended)))
        assert ran == ["attic", "cellar", "attic"]
        # Reading the log again runs no tool again.
        room.leave()
        room = client.attach(session, after=0, tools=tools)
        await shown_until(room, lambda shown: isinstance(shown, CaughtUp))
        await room.send('use open_door {"room": "attic"}')
        await until(room, lambda frame: ended(frame) and len(ran) > 3)
        assert ran == ["attic", "cellar", "attic", "attic"]


async def test_decides_approvals_cancels_turns_and_withdraws_inputs(
    server: RealServer,
) -> None:
    async with Client(server.url) as client:
        session = (await client.create_agent("eve")).main_session
        assert session
        await client.edit_agent("eve", permissions={"calculator": "ask"})
        room = client.attach(session, after=0)
        await room.send("what is 6*7?")
        waiting = await until(room, lambda frame: isinstance(frame.event, events.ApprovalAsked))
        asked = waiting[-1].event
        assert isinstance(asked, events.ApprovalAsked) and asked.name == "calculator"
        queued = await room.send("and then?")
        assert queued.disposition == "queued" and queued.input
        await room.withdraw(queued.input)
        await room.decide(asked.call, "denied")
        seen = await until(room, ended)
        assert any(
            isinstance(one.event, events.ApprovalSettled) and one.event.decision == "denied"
            for one in seen
        )
        await room.send("what is 7*7?")
        await until(room, lambda frame: isinstance(frame.event, events.ApprovalAsked))
        await room.cancel()
        cancelled = (await until(room, ended))[-1].event
        assert isinstance(cancelled, events.TurnEnded) and cancelled.outcome == "cancelled"


async def test_lists_renames_and_deletes_sessions_and_agents(server: RealServer) -> None:
    async with Client(server.url) as client:
        main = (await client.create_agent("flo")).main_session
        assert main
        changes = client.watch()
        async for change in changes:
            if isinstance(change, SessionListing) and change.id == main:
                break
        other = await client.create_session("flo", title="Trains")
        assert {listing.id for listing in await client.sessions("flo")} == {main, other}
        room = client.attach(other, after=0)
        await room.rename("Boats")
        renamed = await until(
            room, lambda frame: isinstance(frame.event, events.SessionRenamed) and frame.seq > 2
        )
        assert [record.seq for record in await client.records(other)] == [
            frame.seq for frame in renamed
        ]
        await client.delete_session(other)
        with pytest.raises(ClosedError):
            while True:
                await anext(room)
        async for change in changes:
            if not isinstance(change, SessionListing) and change.session == other:
                break
        await changes.aclose()
        assert (await client.edit_agent("flo", name="fay")).main_session == main
        assert "fay" in [agent.name for agent in await client.agents()]
        await client.delete_agent("fay")
        assert "fay" not in [agent.name for agent in await client.agents()]


async def test_a_slow_reader_costs_no_memory_and_loses_nothing(
    server: RealServer,
) -> None:
    async with Client(server.url) as client, Client(server.url) as other:
        session = (
            await client.create_agent("gus", model="load:items=6000,bytes=20,rate=0")
        ).main_session
        assert session
        room = client.attach(session, after=0)
        await room.send("go")
        # Nobody reads yet, and the turn ends on the server long before.
        await until(other.attach(session, after=0), ended)
        seen = await until(room, ended)
        assert [frame.seq for frame in seen] == list(range(1, len(seen) + 1))
        assert len(messages(seen)) == 6000


async def test_a_cancelled_command_stops_waiting(server: RealServer) -> None:
    async with Client(server.url) as client:
        session = (await client.create_agent("hal")).main_session
        assert session
        room = client.attach(session)
        reading = asyncio.create_task(room.__anext__())
        asking = asyncio.create_task(room.send("hello"))
        await asyncio.sleep(0)
        asking.cancel()
        reading.cancel()
        await asyncio.gather(asking, reading, return_exceptions=True)
        assert client.waiting == 0
        assert (await room.send("hello again")).seq


async def test_shows_its_key_and_is_refused_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THOUGHTWIRE_KEY", raising=False)
    server = RealServer("--auth", "keys")
    try:
        with pytest.raises(ClosedError, match=r"401\): the key is not known here") as wrong:
            await connect(server.url, key="tw-wrong")
        assert "{" not in str(wrong.value)
        async with Client(server.url) as keyless:
            for asks in (
                keyless.create_agent("ada"),
                keyless.agents(),
                anext(keyless.attach("s-1")),
            ):
                with pytest.raises(
                    RefusedError, match="wants a key: set THOUGHTWIRE_KEY or pass key=…"
                ):
                    await asks
        agent = Agent("ada", url=server.url)
        agent.turn(lambda turn: "hello")
        with pytest.raises(RefusedError, match="wants a key"):
            await agent.serve()
        async with Client(server.url, key=server.owner) as client:
            assert (await client.rest("GET", "/v1/whoami"))["auth"] == "keys"
            assert (await client.create_agent("ada")).main_session
    finally:
        server.stop()


async def test_says_how_to_start_a_server_where_there_is_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ClosedError, match="`thoughtwire serve` starts one"):
        await connect("http://127.0.0.1:9", timeout=1.5)
    # Each outage is logged once, and at once.
    (told,) = [record.message for record in caplog.records if "no connection" in record.message]
    assert "http://127.0.0.1:9" in told and "`thoughtwire serve` starts a server" in told


async def test_ensure_agent_returns_an_existing_agent_or_creates_it(
    server: RealServer,
) -> None:
    async with Client(server.url) as client:
        made = await client.ensure_agent("ivy", persona="I am Ivy.")
        again = await client.ensure_agent("ivy")
        assert (again.id, again.main_session, again.persona) == (
            made.id,
            made.main_session,
            "I am Ivy.",
        )


async def test_survives_a_killed_server() -> None:
    server = RealServer()
    states: list[str] = []
    client = await connect(server.url)
    try:
        client.on_state(lambda state, _: states.append(state))
        model = "load:items=400,bytes=30,rate=200,deltas=yes"
        session = (await client.create_agent("ada", model=model)).main_session
        assert session
        room = client.attach(session, after=0)
        await room.send("tell me something long")
        seen: list[EventFrame] = []
        later = None
        async for shown in room:
            assert not isinstance(shown, Reset)
            if isinstance(shown, EventFrame):
                seen.append(shown)
            if isinstance(shown, Delta) and shown.n > 250 and later is None:
                server.kill()
                # Sent without a server: kept until the server is back.
                later = asyncio.create_task(room.send("are you back?"))
                await asyncio.to_thread(server.again)
                client.wake()
            if len([one for one in seen if ended(one)]) == 2:
                break
        assert later is not None and not (await later).duplicate
        assert "waiting" in states and states[-1] == "open"
        # The same events as in the log: the sentence that was cut off, and the second turn.
        log = await server.log(session)
        assert [(one.seq, one.event) for one in seen] == [(one.seq, one.event) for one in log]
        assert any(isinstance(one.event, events.Message) and not one.event.complete for one in seen)
        asked = [
            one
            for one in seen
            if isinstance(one.event, events.UserMessage) and one.event.text == "are you back?"
        ]
        assert len(asked) == 1
    finally:
        await client.close()
        server.stop()


async def test_comes_back_to_a_server_that_was_stopped_with_a_goaway() -> None:
    server = RealServer()
    client = await connect(server.url)
    try:
        session = (await client.create_agent("ada")).main_session
        assert session
        room = client.attach(session, after=0)
        await asyncio.to_thread(server.terminate)
        later = asyncio.create_task(room.send("what is 6*7?"))
        await asyncio.to_thread(server.again)
        assert "42" in " ".join(messages(await until(room, ended)))
        assert (await later).seq
    finally:
        await client.close()
        server.stop()
