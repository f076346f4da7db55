"""The reply to one input, from its events."""

from thoughtwire import events
from thoughtwire.frames import Ack
from thoughtwire.reply import ReplyCollector


def test_a_text_that_was_cut_and_continued_is_one_message() -> None:
    collector = ReplyCollector(Ack(id="m-1", seq=1, input="i-1"))
    said: list[events.Event] = [
        events.TurnStarted(input="i-1"),
        events.Message(item="i-2", text="Half a ", complete=False),
        events.Message(item="i-3", text="sen", complete=False, continues="i-2"),
        events.Message(item="i-4", text="tence.", complete=True, continues="i-3"),
        events.Message(item="i-5", text="Another.", complete=True),
    ]
    for seq, event in enumerate(said, 2):
        assert collector.take(seq, "t-1", event) is None
    end = events.TurnEnded(input="i-1", outcome="completed")
    reply = collector.take(9, "t-1", end)
    assert reply is not None and reply.messages == ("Half a sentence.", "Another.")
