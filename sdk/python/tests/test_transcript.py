"""The transcript: what it makes of events and deltas, and how it is displayed."""

from datetime import datetime, timezone
from typing import Any

from support import RealServer, ended, shown_until
from test_vectors import rows

from thoughtwire import Client, Reset, Transcript, codec, events
from thoughtwire.frames import CaughtUp, Delta, EventFrame, Partial, Status
from thoughtwire.transcript import CallEntry, InputEntry

AT = datetime(2026, 1, 1, tzinfo=timezone.utc)


def told(*happened: events.Event, turn: str | None = "t-1") -> Transcript:
    transcript = Transcript()
    for seq, event in enumerate(happened, start=1):
        transcript.apply(EventFrame(session="s", seq=seq, at=AT, turn=turn, event=event))
    return transcript


def delta(n: int, text: str, item: str = "i-2", **more: Any) -> Delta:
    return Delta(session="s", turn="t-1", item=item, n=n, kind="message", text=text, **more)


def test_takes_every_recorded_event() -> None:
    happened = [codec._event(row) for row in rows("events")]
    transcript = told(*happened)
    assert transcript._seq == len(happened)
    assert repr(transcript) and transcript._repr_html_()


def test_an_event_supersedes_its_deltas_and_duplicates_are_ignored() -> None:
    transcript = told(events.TurnStarted(input="i-1"))
    for piece in (delta(0, "It "), delta(1, "is"), delta(1, "is"), delta(3, "late")):
        transcript.apply(piece)
    assert [open.text for open in transcript.open] == ["It is"]
    transcript.apply(
        Partial(session="s", turn="t-1", item="i-2", n=3, kind="message", text="It is 4")
    )
    transcript.apply(delta(3, "2."))
    assert [open.text for open in transcript.open] == ["It is 42."]
    transcript.apply(Status(session="s", turn="t-1", text="thinking"))
    assert repr(transcript).splitlines() == [
        "agent: It is 42.…",
        "status: thinking",
    ]
    whole = events.Message(item="i-2", text="It is 42", complete=False)
    transcript.apply(EventFrame(session="s", seq=2, at=AT, turn="t-1", event=whole))
    transcript.apply(delta(4, " late"))
    end = events.TurnEnded(input="i-1", outcome="cancelled", reason="You cancelled it.")
    transcript.apply(EventFrame(session="s", seq=3, at=AT, turn="t-1", event=end))
    transcript.apply(delta(0, "late", item="i-9"))
    assert transcript.open == [] and transcript.messages == ["It is 42"]
    assert repr(transcript).splitlines() == [
        "agent: It is 42 (cut off)",
        "cancelled: You cancelled it.",
    ]
    transcript.apply(Reset("s", "e-2"))
    assert repr(transcript) == "(nothing yet)"


def test_inputs_have_a_status_and_calls_are_one_entry() -> None:
    transcript = told(
        events.UserMessage(item="i-1", text="Hello", attachments=("file-1",)),
        events.UserMessage(item="i-2", text="Wait"),
        turn=None,
    )
    assert "user (waits): Hello [file-1]" in repr(transcript)
    more: list[events.Event] = [
        events.TurnStarted(input="i-1"),
        events.InputWithdrawn(input="i-2"),
        events.ToolCalled(call="c-1", name="door", args={"room": "attic"}),
        events.ApprovalAsked(call="c-1", expires_at=AT),
        events.ApprovalSettled(call="c-1", decision="approved"),
        events.ToolAwaited(call="c-1", expires_at=AT),
        events.ToolReturned(call="c-1", name="door", status="error", text="stuck"),
        events.TurnEnded(input="i-1", outcome="completed"),
    ]
    for seq, event in enumerate(more, start=3):
        transcript.apply(EventFrame(session="s", seq=seq, at=AT, turn="t-1", event=event))
    hello, wait, call = (entry.body for entry in transcript.entries[:3])
    assert isinstance(hello, InputEntry) and hello.status == "completed"
    assert isinstance(wait, InputEntry) and wait.status == "withdrawn"
    assert isinstance(call, CallEntry) and call.approval == "approved" and call.awaited
    assert repr(transcript).splitlines() == [
        "user: Hello [file-1]",
        "user (withdrawn): Wait",
        'call: door({"room": "attic"}) → error: stuck',
    ]


def test_texts_cannot_control_a_page_or_a_terminal() -> None:
    transcript = told(
        events.SessionRenamed(title="<b>"),
        events.UserMessage(item="i-1", text="<script>alert(1)</script>", from_='"><img>'),
        events.ToolCalled(call="c-1", name="</div>", args={"<x>": "&"}),
        events.Message(item="i-2", text="\x1b[2Jgone\x07\nnext", complete=True),
    )
    page = transcript._repr_html_()
    assert not any(bad in page for bad in ("<script", "<img", "<x>", "<b>\n", "</div>("))
    assert "\x1b" not in repr(transcript) and "\\x1b[2Jgone\\x07\nnext" in repr(transcript)


def interrupted() -> list[events.Event]:
    """A turn in which two texts are cut, and one of them is continued twice."""
    return [
        events.TurnStarted(input="i-1"),
        events.Thought(item="th-1", text="Hm", complete=False),
        events.Message(item="m-1", text="One", complete=False),
        events.TurnResumed(attempt=1, reason="restart"),
        events.Message(item="m-2", text=" two", complete=False, continues="m-1"),
        events.TurnResumed(attempt=2, reason="worker_lost"),
        events.Message(item="m-3", text=" three.", complete=True, continues="m-2"),
        events.TurnEnded(input="i-1", outcome="completed"),
    ]


def test_a_continued_text_is_one_entry_with_its_seams() -> None:
    transcript = told(*interrupted())
    assert transcript.messages == ["One two three."]
    joined = next(entry for entry in transcript.entries if isinstance(entry.body, events.Message))
    assert joined.seq == 3 and joined.seams == (3, 7)
    assert repr(transcript).splitlines() == [
        "thought: Hm (cut off)",
        "agent: One two three.",
        "turn: The server was restarted; the turn goes on.",
        "turn: The worker was lost; the turn goes on.",
    ]
    # The transcript may begin after the text that another one continues.
    later = told(*interrupted()[4:])
    assert later.messages == [" two three."] and later.entries[0].seams == (0, 4)


def test_an_open_text_continues_the_entry_that_its_deltas_name() -> None:
    def open_text(happened: list[events.Event], continues: str | None) -> Transcript:
        transcript = told(*happened)
        transcript.apply(delta(0, " and", item="m-9", continues=continues))
        return transcript

    own = open_text(interrupted()[:4], None)
    assert own.continued(own.open[0]) is None
    resumed = open_text(interrupted()[:4], "m-1")
    assert resumed.continued(resumed.open[0]) is resumed.entries[2]
    assert repr(resumed).splitlines()[1:] == [
        "agent: One and…",
        "turn: The server was restarted; the turn goes on.",
    ]
    # The second interruption cut the continuation.
    again = open_text(interrupted()[:6], "m-2")
    assert again.continued(again.open[0]) is again.entries[2]
    assert "agent: One two and…" in repr(again)
    # A client that attaches in the middle gets a partial.
    late = told(*interrupted()[:6])
    partial = Partial(
        session="s", turn="t-1", item="m-9", n=1, kind="message", text=" and", continues="m-2"
    )
    late.apply(partial)
    assert repr(late) == repr(again)
    other_kind = open_text(interrupted()[:4], "th-1")
    assert other_kind.continued(other_kind.open[0]) is None
    # What was streamed and has no event is lost when the turn is interrupted.
    lost = events.TurnResumed(attempt=3, reason="restart")
    again.apply(EventFrame(session="s", seq=7, at=AT, turn="t-1", event=lost))
    assert again.open == []
    # Its event decides: this item is a message of its own.
    other = events.Message(item="m-9", text="And", complete=True)
    resumed.apply(EventFrame(session="s", seq=5, at=AT, turn="t-1", event=other))
    assert resumed.messages == ["One", "And"]


def test_a_call_in_doubt_is_asked_about_and_made_again() -> None:
    happened: list[events.Event] = [
        events.TurnStarted(input="i-1"),
        events.ToolCalled(call="c-1", name="pay", args={"sum": 12}),
        events.TurnResumed(attempt=1, reason="restart"),
        events.ApprovalAsked(call="c-1", name="pay", about="retry", expires_at=AT),
    ]
    waits = "(may have taken effect; waits for you to say if it is run again)"
    assert repr(told(*happened)).splitlines()[0] == f'call: pay({{"sum": 12}}) → {waits}'
    happened += [
        events.ApprovalSettled(call="c-1", decision="approved"),
        events.ToolRetried(call="c-1", attempt=1, reason="approved"),
        events.ToolReturned(call="c-1", name="pay", status="unknown", text="No answer."),
    ]
    call = told(*happened).entries[1].body
    assert isinstance(call, CallEntry) and (call.about, call.retries) == ("retry", 1)
    first = repr(told(*happened)).splitlines()[0]
    assert first == 'call: pay({"sum": 12}) (run again) → outcome unknown: No answer.'


async def test_live_and_replayed_are_the_same(server: RealServer) -> None:
    async with Client(server.url) as client:
        session = (await client.create_agent("transcribed")).main_session
        assert session
        room = client.attach(session, after=0)
        live = Transcript()
        for text in ("What is 6*7?", "count to 20", "remember that I like tea"):
            await room.send(text)
            for shown in await shown_until(
                room, lambda one: isinstance(one, EventFrame) and ended(one)
            ):
                live.apply(shown)
        room.leave()
        replayed = Transcript()
        again = client.attach(session, after=0)
        for shown in await shown_until(again, lambda one: isinstance(one, CaughtUp)):
            replayed.apply(shown)
        assert replayed == live and len(live.messages) == 3


def test_names_who_said_an_input_and_not_the_wire_it_came_by() -> None:
    transcript = told(
        events.UserMessage(item="i-1", text="One", from_="bo"),
        events.UserMessage(item="i-2", text="Two", from_="native"),
        events.UserMessage(item="i-3", text="Three", from_="rest"),
        events.UserMessage(item="i-4", text="Four"),
        events.UserMessage(item="i-5", text="<b>", from_="<i>"),
    )
    assert repr(transcript).splitlines() == [
        "bo: One",
        "user: Two",
        "user: Three",
        "user: Four",
        "<i>: <b>",
    ]
    assert "<i>" not in transcript._repr_html_()
