"""The client against a scripted server, for cases that a real one rarely produces."""

import asyncio

import pytest
from support import ScriptedPeer, ScriptedServer, scripted, soon
from test_vectors import rows

from thoughtwire import Client, ClosedError, RefusedError, Reset
from thoughtwire.frames import EventFrame


async def opened(server: ScriptedServer) -> tuple[Client, ScriptedPeer]:
    client = Client(server.url, key="tw-secret", name="n")
    opening = asyncio.create_task(client.open())
    peer = await server.greets(frame_bytes=1000)
    await opening
    return client, peer


async def test_sends_hello_first() -> None:
    async with scripted() as server:
        client, peer = await opened(server)
        assert peer.headers["Authorization"] == "Bearer tw-secret"
        assert peer.headers["Sec-WebSocket-Protocol"] == "thoughtwire.v1"
        assert await peer.hears("hello") == {"type": "hello", "client": "n"}
        await client.close()


async def test_takes_every_recorded_frame_unknown_ones_included() -> None:
    async with scripted() as server:
        client, peer = await opened(server)
        await peer.hears("hello")
        room = client.attach("s-1", after=0)
        await peer.hears("attach")
        await peer.say(
            type="attached", session="s-1", agent="a", epoch="e-1", first=1, head=0, recovered=True
        )
        all_events = rows("events")
        frame = {"type": "event", "session": "s-1", "at": "2026-01-01T00:00:00.000Z"}
        for seq, event in enumerate(all_events, start=1):
            await peer.say(**frame, seq=seq, event=event)
        # The same events again, as in a replay from an older cursor. None is yielded twice.
        await peer.say(**frame, seq=1, event=all_events[0])
        for seq, event in enumerate(all_events, start=1):
            shown = await anext(room)
            assert (
                isinstance(shown, EventFrame)
                and shown.seq == seq
                and shown.event.kind == event["kind"]
            )
        for row in rows("native"):
            if row["from"] == "server" and "ok" in row and row["ok"]["type"] != "goaway":
                await peer.say_raw(row["wire"])
        for bad in ["", "{", "null", "[]", '{"type":7}', '{"type":"weather","session":"s-1"}']:
            await peer.say_raw(bad)
        asking = asyncio.create_task(client.create_agent("ada"))
        asked = await peer.hears("create_agent")
        await peer.say(
            type="ack", id=asked["id"], agent={"id": "a-1", "name": "ada"}, session="s-9"
        )
        assert (await asking).main_session == "s-9"
        await client.close()


async def test_resumes_at_its_cursor_and_starts_over_after_a_reset() -> None:
    async with scripted() as server:
        client, peer = await opened(server)
        await peer.hears("hello")
        room = client.attach("s-2", after=4, epoch="e-1")
        attach = await peer.hears("attach")
        assert (attach["after"], attach["epoch"]) == (4, "e-1")
        renamed = {"type": "event", "session": "s-2", "at": "2026-01-01T00:00:00.000Z"}
        # A frame of the earlier attachment, since it comes before `attached`.
        await peer.say(**renamed, seq=9, event={"kind": "session_renamed", "title": "x"})
        await peer.say(
            type="attached", session="s-2", agent="a", epoch="e-2", first=1, head=1, recovered=False
        )
        await peer.say(**renamed, seq=1, event={"kind": "session_renamed", "title": "y"})
        assert isinstance(await anext(room), Reset)
        shown = await anext(room)
        assert isinstance(shown, EventFrame) and shown.seq == 1
        await peer.breaks()
        peer = await server.greets()
        await peer.hears("hello")
        attach = await peer.hears("attach")
        assert (attach["after"], attach["epoch"]) == (1, "e-2")
        await client.close()


async def test_resends_unanswered_commands_in_order_and_under_the_same_ids() -> None:
    async with scripted() as server:
        client, peer = await opened(server)
        await peer.hears("hello")
        sends = [asyncio.create_task(client.attach(f"s-{n}").send(f"text {n}")) for n in range(3)]
        first = [
            await peer.hears(word)
            for word in ("attach", "attach", "attach", "send", "send", "send")
        ]
        await peer.breaks()
        peer = await server.greets()
        await peer.hears("hello")
        again = [
            await peer.hears(word)
            for word in ("attach", "attach", "attach", "send", "send", "send")
        ]
        assert [frame for frame in first if frame["type"] == "send"] == again[3:]
        await peer.say(
            type="refused", id=again[3]["id"], code="queue_full", reason="full", retry=True
        )
        for seq, frame in enumerate(again[4:]):
            await peer.say(type="ack", id=frame["id"], seq=seq)
        with pytest.raises(RefusedError) as refused:
            await sends[0]
        assert refused.value.retry
        assert [(await send).seq for send in sends[1:]] == [0, 1]
        await client.close()


async def test_is_closed_for_good_by_a_final_code_or_by_its_owner() -> None:
    async with scripted() as server:
        client, peer = await opened(server)
        asking = asyncio.create_task(client.create_agent("ada"))
        await peer.hears("hello")
        await peer.hears("create_agent")
        await peer.closes(1008, "who are you?")
        with pytest.raises(ClosedError, match="who are you"):
            await asking
        assert client.state == "closed"
        with pytest.raises(ClosedError):
            await client.create_agent("ada")
        other, _ = await opened(server)
        room = other.attach("s-1")
        await other.close()
        with pytest.raises(ClosedError):
            await anext(room)


async def test_stays_closed_when_the_welcome_arrives_during_the_closing() -> None:
    async with scripted() as server:
        client = Client(server.url)
        opening = asyncio.create_task(client.open())
        peer = await server.accepts()
        # The client waits for the welcome by then.
        await asyncio.sleep(0.1)
        states: list[str] = []
        client.on_state(lambda state, _: states.append(state))
        await peer.say(type="welcome", protocol="thoughtwire.v1", server="scripted", limits={})
        await client.close()
        assert (client.state, states) == ("closed", ["closed"])
        with pytest.raises(ClosedError):
            await opening


async def test_stays_away_as_long_as_a_goaway_asks() -> None:
    async with scripted() as server:
        client, peer = await opened(server)
        reasons: list[str | None] = []
        client.on_state(
            lambda state, reason: reasons.append(reason) if state == "waiting" else None
        )
        await peer.say(type="goaway", reason="stopping", retry_after_ms=3_600_000)
        await peer.closes(1012, "stopping")
        await soon(lambda: client.state == "waiting")
        assert reasons and "1012" in str(reasons[0])
        # Only `wake` shortens the pause.
        client.wake()
        await server.greets()
        await soon(lambda: client.state == "open")
        await client.close()


async def test_refuses_frames_that_would_end_the_connection() -> None:
    async with scripted() as server:
        client, peer = await opened(server)
        with pytest.raises(RefusedError) as refused:
            await client.create_agent("x" * 2000)
        assert refused.value.code == "too_large"
        await peer.hears("hello")
        asking = asyncio.create_task(client.create_agent("short"))
        assert (await peer.hears("create_agent"))["name"] == "short"
        asking.cancel()
        await client.close()
