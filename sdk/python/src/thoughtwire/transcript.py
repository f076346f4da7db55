"""A readable view of a session, built from its events and deltas."""

import html
import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

from . import events, frames
from .room import Reset, Shown

InputStatus: TypeAlias = Literal["waits", "runs", "withdrawn"] | events.Outcome


@dataclass(slots=True)
class InputEntry:
    """An input to the agent, and its status."""

    item: str
    text: str
    attachments: tuple[str, ...]
    from_: str | None
    status: InputStatus


@dataclass(slots=True)
class CallEntry:
    """A tool call, from its announcement to its result."""

    call: str
    name: str
    #: None when the transcript begins after the call.
    args: dict[str, Any] | None
    approval: Literal["asked"] | events.Decision | None = None
    #: What the newest approval was asked for: to run the call, or to run it again although it may
    #: have taken effect.
    about: events.ApprovalAbout = "run"
    #: How many times it was made again after an interruption.
    retries: int = 0
    awaited: bool = False
    returned: events.ToolReturned | None = None


@dataclass(slots=True)
class TranscriptEntry:
    """An entry of a transcript, in the order of the log. Its place never changes.

    `body` is an :class:`InputEntry`, a :class:`CallEntry`, or any other event itself, such as a
    thought, a message or the end of a turn. A text that was cut and continued is one entry: its
    body has the whole text, and is complete if the last part is.
    """

    seq: int
    at: datetime
    turn: str | None
    body: InputEntry | CallEntry | events.Event
    #: Positions in a text at which it was cut and continued. 0 if the transcript begins after the
    #: text that this one continues.
    seams: tuple[int, ...] = ()


@dataclass(slots=True)
class OpenItem:
    """An item that is still streaming."""

    item: str
    kind: frames.StreamKind
    n: int
    text: str
    #: The cut item whose text this one continues.
    continues: str | None = None


@dataclass
class Transcript:
    """Collects what a room yields, and displays it in a terminal or a notebook.

    The result does not depend on when the reader attached, how often the connection broke, or which
    deltas arrived.

    >>> from datetime import datetime
    >>> transcript = Transcript()
    >>> said = events.Message(item="i-1", text="It is 42.", complete=True)
    >>> at = datetime(2026, 1, 1)
    >>> transcript.apply(frames.EventFrame(session="s-1", seq=1, at=at, event=said))
    >>> transcript
    agent: It is 42.
    """

    entries: list[TranscriptEntry] = field(default_factory=list)
    #: Items that are still streaming, in the order of their beginning. They follow all entries.
    open: list[OpenItem] = field(default_factory=list)
    #: The running turn, as far as it is known.
    turn: str | None = None
    title: str | None = None
    #: The agent's latest progress note.
    status: str | None = None
    _seq: int = 0
    _said: dict[str, TranscriptEntry] = field(default_factory=dict)
    _calls: dict[str, CallEntry] = field(default_factory=dict)
    #: Items and turns that are complete. Later deltas of them are ignored.
    _closed: set[str] = field(default_factory=set)
    #: Cut texts of the running turn, by item.
    _cut: dict[str, TranscriptEntry] = field(default_factory=dict)

    @property
    def messages(self) -> list[str]:
        """The texts of the agent's messages."""
        return [entry.body.text for entry in self.entries if isinstance(entry.body, events.Message)]

    def continued(self, open: OpenItem) -> TranscriptEntry | None:
        """Returns the entry whose text an open item continues.

        The item's event decides: its kind may be another.
        """
        entry = self._cut.get(open.continues or "")
        if entry is None or not isinstance(entry.body, events.Thought | events.Message):
            return None
        return entry if entry.body.kind == open.kind else None

    def apply(self, shown: Shown) -> None:
        """Adds the next item of a room. An item that was added before changes nothing."""
        if isinstance(shown, frames.EventFrame):
            if shown.seq > self._seq:
                self._seq = shown.seq
                self._event(shown)
        elif isinstance(shown, frames.Delta):
            self._delta(shown)
        elif isinstance(shown, frames.Partial):
            if not {shown.item, shown.turn} & self._closed:
                self.open = [item for item in self.open if item.item != shown.item]
                item = OpenItem(shown.item, shown.kind, shown.n, shown.text, shown.continues)
                self.open.append(item)
        elif isinstance(shown, frames.Status):
            self.status = shown.text
        elif isinstance(shown, Reset):
            self.__init__()  # type: ignore[misc]

    def _event(self, frame: frames.EventFrame) -> None:
        event = frame.event
        match event:
            case events.UserMessage():
                status: InputStatus = "waits" if frame.turn is None else "runs"
                said = InputEntry(event.item, event.text, event.attachments, event.from_, status)
                self._said[event.item] = self._push(frame, said)
            case events.InputWithdrawn(input=input):
                self._settle(frame, input, "withdrawn")
            case events.TurnStarted(input=input):
                self.turn = frame.turn
                self._closed = set()
                self._forget_items()
                self._settle(frame, input, "runs")
            case events.TurnResumed():
                # Items without an event were lost in the interruption.
                self.open = []
                self._push(frame, event)
            case events.Thought() | events.Message():
                self._text(frame, event)
            case events.ToolCalled():
                # The item of streamed arguments is the call's id.
                self._close(event.call)
                call = CallEntry(event.call, event.name, event.args)
                self._calls[event.call] = call
                self._push(frame, call)
            case events.ApprovalAsked(call=id) if id in self._calls:
                self._calls[id].approval = "asked"
                self._calls[id].about = event.about or "run"
            case events.ToolRetried(call=id) if id in self._calls:
                self._calls[id].retries = event.attempt
            case events.ApprovalSettled(call=id) if id in self._calls:
                self._calls[id].approval = event.decision
            case events.ToolAwaited(call=id) if id in self._calls:
                self._calls[id].awaited = True
            case events.ToolReturned(call=id):
                if id in self._calls:
                    self._calls.pop(id).returned = event
                else:
                    self._push(frame, CallEntry(id, event.name, None, returned=event))
            case events.TurnEnded():
                self._ended(frame.turn, event)
                self._push(frame, event)
            case events.SessionRenamed(title=title):
                self.title = title
                self._push(frame, event)
            case _:
                self._push(frame, event)

    def _push(
        self, frame: frames.EventFrame, body: InputEntry | CallEntry | events.Event
    ) -> TranscriptEntry:
        entry = TranscriptEntry(frame.seq, frame.at, frame.turn, body)
        self.entries.append(entry)
        return entry

    def _settle(self, frame: frames.EventFrame, input: str, status: InputStatus) -> None:
        """Sets an input's status, or adds the event when the input is not in the transcript."""
        entry = self._said.get(input)
        if entry is None:
            self._push(frame, frame.event)
        elif isinstance(entry.body, InputEntry):
            entry.body.status = status
            entry.turn = frame.turn
            if status == "withdrawn":
                del self._said[input]

    def _ended(self, turn: str | None, event: events.TurnEnded) -> None:
        # All inputs that joined the turn end with it.
        for item, entry in [*self._said.items()]:
            if isinstance(entry.body, InputEntry) and (
                item == event.input or (turn is not None and entry.turn == turn)
            ):
                entry.body.status = event.outcome
                del self._said[item]
        self.turn = self.status = None
        self._calls = {}
        self._forget_items()
        if turn is not None:
            self._closed.add(turn)

    def _forget_items(self) -> None:
        """Forgets what only concerns the items of one turn."""
        self.open, self._cut = [], {}

    def _text(self, frame: frames.EventFrame, said: events.Thought | events.Message) -> None:
        """Adds a text, or joins it to the cut one that it continues."""
        self._close(said.item)
        entry = self._cut.get(said.continues) if said.continues is not None else None
        if entry is not None and isinstance(entry.body, type(said)):
            before = entry.body.text
            entry.seams += (len(before),)
            entry.body = replace(entry.body, text=before + said.text, complete=said.complete)
        else:
            entry = self._push(frame, said)
            if said.continues is not None:
                entry.seams = (0,)
        if not said.complete:
            self._cut[said.item] = entry

    def _close(self, item: str) -> None:
        """Drops the streamed text of an item, which its event supersedes."""
        self.open = [open for open in self.open if open.item != item]
        self._closed.add(item)

    def _delta(self, delta: frames.Delta) -> None:
        if {delta.item, delta.turn} & self._closed:
            return
        open = next((open for open in self.open if open.item == delta.item), None)
        if open is None:
            # After a missed beginning, a partial or the event completes the item.
            if delta.n == 0:
                item = OpenItem(delta.item, delta.kind, 1, delta.text, delta.continues)
                self.open.append(item)
        elif open.n == delta.n:
            open.n += 1
            open.text += delta.text

    def _lines(self) -> list[tuple[str, str, str]]:
        """Lists the lines to display: a style, the speaker, and the text."""
        shown = []
        continuing = [(entry, open) for open in self.open if (entry := self.continued(open))]
        for entry in self.entries:
            more = next((open.text for cut, open in continuing if cut is entry), None)
            if (line := _line(entry.body, more)) is not None:
                shown.append(line)
        for open in self.open:
            if any(open is other for _, other in continuing):
                continue
            who = {"thought": "thought", "message": "agent", "tool_args": "call"}[open.kind]
            shown.append((open.kind, who, open.text + "…"))
        if self.status:
            shown.append(("status", "status", self.status))
        return shown

    def __repr__(self) -> str:
        return (
            "\n".join(f"{who}: {_printable(words)}" for _, who, words in self._lines())
            or "(nothing yet)"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<div style="{_LOOKS.get(kind, "")}"><b>{html.escape(who)}</b> '
            f'<span style="white-space:pre-wrap">{html.escape(words)}</span></div>'
            for kind, who, words in self._lines()
        )
        title = f"<h4>{html.escape(self.title)}</h4>" if self.title else ""
        return f'<div style="line-height:1.5">{title}{rows or "(nothing yet)"}</div>'


_LOOKS = {
    "thought": "font-style:italic;opacity:.65",
    "call": "font-family:monospace;font-size:90%",
    "tool_args": "font-family:monospace;font-size:90%;opacity:.65",
    "status": "opacity:.65",
    "ended": "color:#b00020",
}


#: What interrupted a turn, by reason.
_CAUSES = {
    "restart": "The server was restarted",
    "moved": "The session moved to another server",
    "worker_lost": "The worker was lost",
}


def _line(
    body: InputEntry | CallEntry | events.Event, more: str | None = None
) -> tuple[str, str, str] | None:
    """Returns the line of an entry. `more` is streamed text that continues it."""
    match body:
        case InputEntry():
            status = (
                " (waits)"
                if body.status == "waits"
                else " (withdrawn)"
                if body.status == "withdrawn"
                else ""
            )
            files = "".join(f" [{file}]" for file in body.attachments)
            return "said", f"{_who(body.from_)}{status}", body.text + files
        case events.Thought():
            return "thought", "thought", _words(body, more)
        case events.Message():
            return "message", "agent", _words(body, more)
        case CallEntry():
            args = "" if body.args is None else json.dumps(body.args, ensure_ascii=False)
            if body.returned is not None:
                signs = {"success": "", "error": "error: ", "unknown": "outcome unknown: "}
                came = signs[body.returned.status] + body.returned.text
            elif body.approval == "asked" and body.about == "retry":
                came = "(may have taken effect; waits for you to say if it is run again)"
            elif body.approval == "asked":
                came = "(waits for approval)"
            else:
                came = "(waits for a client)" if body.awaited else "…"
            times = "" if body.retries == 1 else f" {body.retries} times"
            again = f" (run again{times})" if body.retries else ""
            return "call", "call", f"{body.name}({args}){again} → {came}"
        case events.TurnResumed():
            return "status", "turn", f"{_CAUSES[body.reason]}; the turn goes on."
        case events.TurnEnded() if body.outcome != "completed":
            return "ended", body.outcome, body.reason or body.code or ""
        case _:
            return None


def _words(said: events.Thought | events.Message, more: str | None) -> str:
    """Returns a text, with what is streamed behind it."""
    if more is not None:
        return said.text + more + "…"
    return said.text + ("" if said.complete else " (cut off)")


#: Names of clients without one in the log: those of their wires.
_WIRES = ("native", "memgpt", "sparky", "rest")


def _who(client: str | None) -> str:
    """Returns the name of an input's client, or `user` for a client without a name."""
    return client if client and client not in _WIRES else "user"


def _printable(text: str) -> str:
    """Escapes characters that control a terminal."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text
    )
