"""The view of a session that a reader keeps while events and deltas come in."""

import html
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from . import events, frames
from .room import Reset, Shown

Fate: TypeAlias = Literal["waits", "runs", "withdrawn"] | events.Outcome


@dataclass(slots=True)
class Said:
    """Somebody said something to the agent, and what became of it."""

    item: str
    text: str
    attachments: tuple[str, ...]
    from_: str | None
    fate: Fate


@dataclass(slots=True)
class Call:
    """One use of a tool, from its call to its return."""

    call: str
    name: str
    #: Absent when the view begins behind the call.
    args: dict[str, Any] | None
    approval: Literal["asked"] | events.Decision | None = None
    awaited: bool = False
    returned: events.ToolReturned | None = None


@dataclass(slots=True)
class Entry:
    """One thing in a transcript, in the order of the log. Its place never changes.

    `body` is :class:`Said`, :class:`Call`, or the event itself: a thought, a message, a turn's end, or
    anything else that happened.
    """

    seq: int
    at: datetime
    turn: str | None
    body: Said | Call | events.Event


@dataclass(slots=True)
class Open:
    """An item that still streams."""

    item: str
    kind: frames.StreamKind
    n: int
    text: str


@dataclass
class Transcript:
    """Feed it what a room shows; it shows itself in a terminal and in a notebook.

    What it shows does not depend on when it came, how often it was cut off, or what it saw of the
    streaming in between.

    >>> from datetime import datetime
    >>> transcript = Transcript()
    >>> said = events.Message(item="i-1", text="It is 42.", complete=True)
    >>> transcript.apply(frames.EventFrame(session="s-1", seq=1, at=datetime(2026, 1, 1), event=said))
    >>> transcript
    agent: It is 42.
    """

    entries: list[Entry] = field(default_factory=list)
    #: Items that still stream, in the order in which they began. They stand behind all entries.
    open: list[Open] = field(default_factory=list)
    #: The running turn, as far as it was seen.
    turn: str | None = None
    title: str | None = None
    #: What goes on, as the agent says it.
    status: str | None = None
    _seq: int = 0
    _said: dict[str, Entry] = field(default_factory=dict)
    _calls: dict[str, Call] = field(default_factory=dict)
    #: Items whose event came, and turns that ended: what still streams of them is late.
    _closed: set[str] = field(default_factory=set)

    @property
    def messages(self) -> list[str]:
        """What the agent said to its user."""
        return [entry.body.text for entry in self.entries if isinstance(entry.body, events.Message)]

    def apply(self, shown: Shown) -> None:
        """Takes what came next. What was seen before changes nothing."""
        if isinstance(shown, frames.EventFrame):
            if shown.seq > self._seq:
                self._seq = shown.seq
                self._event(shown)
        elif isinstance(shown, frames.Delta):
            self._delta(shown)
        elif isinstance(shown, frames.Partial):
            if not {shown.item, shown.turn} & self._closed:
                self.open = [item for item in self.open if item.item != shown.item]
                self.open.append(Open(shown.item, shown.kind, shown.n, shown.text))
        elif isinstance(shown, frames.Status):
            self.status = shown.text
        elif isinstance(shown, Reset):
            self.__init__()  # type: ignore[misc]

    def _event(self, frame: frames.EventFrame) -> None:
        event = frame.event
        match event:
            case events.UserMessage():
                fate: Fate = "waits" if frame.turn is None else "runs"
                said = Said(event.item, event.text, event.attachments, event.from_, fate)
                self._said[event.item] = self._push(frame, said)
            case events.InputWithdrawn(input=input):
                self._settle(frame, input, "withdrawn")
            case events.TurnStarted(input=input):
                self.turn = frame.turn
                self.open, self._closed = [], set()
                self._settle(frame, input, "runs")
            case events.Thought(item=item) | events.Message(item=item):
                self._close(item)
                self._push(frame, event)
            case events.ToolCalled():
                # Streamed arguments carry the call's id as their item.
                self._close(event.call)
                call = Call(event.call, event.name, event.args)
                self._calls[event.call] = call
                self._push(frame, call)
            case events.ApprovalAsked(call=id) if id in self._calls:
                self._calls[id].approval = "asked"
            case events.ApprovalSettled(call=id) if id in self._calls:
                self._calls[id].approval = event.decision
            case events.ToolAwaited(call=id) if id in self._calls:
                self._calls[id].awaited = True
            case events.ToolReturned(call=id):
                if id in self._calls:
                    self._calls.pop(id).returned = event
                else:
                    self._push(frame, Call(id, event.name, None, returned=event))
            case events.TurnEnded():
                self._ended(frame.turn, event)
                self._push(frame, event)
            case events.SessionRenamed(title=title):
                self.title = title
                self._push(frame, event)
            case _:
                self._push(frame, event)

    def _push(self, frame: frames.EventFrame, body: Said | Call | events.Event) -> Entry:
        entry = Entry(frame.seq, frame.at, frame.turn, body)
        self.entries.append(entry)
        return entry

    def _settle(self, frame: frames.EventFrame, input: str, fate: Fate) -> None:
        """Writes an input's fate where the input stands; out of view, the event stands for itself."""
        entry = self._said.get(input)
        if entry is None:
            self._push(frame, frame.event)
        elif isinstance(entry.body, Said):
            entry.body.fate = fate
            entry.turn = frame.turn
            if fate == "withdrawn":
                del self._said[input]

    def _ended(self, turn: str | None, event: events.TurnEnded) -> None:
        # Inputs that joined the turn end with it.
        for item, entry in [*self._said.items()]:
            if isinstance(entry.body, Said) and (
                item == event.input or (turn is not None and entry.turn == turn)
            ):
                entry.body.fate = event.outcome
                del self._said[item]
        self.turn = self.status = None
        self.open, self._calls = [], {}
        if turn is not None:
            self._closed.add(turn)

    def _close(self, item: str) -> None:
        """An item's event supersedes whatever streamed of it."""
        self.open = [open for open in self.open if open.item != item]
        self._closed.add(item)

    def _delta(self, delta: frames.Delta) -> None:
        if {delta.item, delta.turn} & self._closed:
            return
        open = next((open for open in self.open if open.item == delta.item), None)
        if open is None:
            # Behind a missed beginning the partial or the event will make it whole.
            if delta.n == 0:
                self.open.append(Open(delta.item, delta.kind, 1, delta.text))
        elif open.n == delta.n:
            open.n += 1
            open.text += delta.text

    def _lines(self) -> list[tuple[str, str, str]]:
        """What is shown: a class for its looks, who speaks, and the words."""
        shown = [line for entry in self.entries if (line := _line(entry.body))]
        for open in self.open:
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


def _line(body: Said | Call | events.Event) -> tuple[str, str, str] | None:
    match body:
        case Said():
            fate = (
                " (waits)"
                if body.fate == "waits"
                else " (withdrawn)"
                if body.fate == "withdrawn"
                else ""
            )
            files = "".join(f" [{file}]" for file in body.attachments)
            return "said", f"{_who(body.from_)}{fate}", body.text + files
        case events.Thought():
            return "thought", "thought", body.text + ("" if body.complete else " (cut off)")
        case events.Message():
            return "message", "agent", body.text + ("" if body.complete else " (cut off)")
        case Call():
            args = "" if body.args is None else json.dumps(body.args, ensure_ascii=False)
            if body.returned is not None:
                came = f"{'error: ' if body.returned.status == 'error' else ''}{body.returned.text}"
            elif body.approval == "asked":
                came = "(waits for leave)"
            else:
                came = "(waits for a client)" if body.awaited else "…"
            return "call", "call", f"{body.name}({args}) → {came}"
        case events.TurnEnded() if body.outcome != "completed":
            return "ended", body.outcome, body.reason or body.code or ""
        case _:
            return None


#: What a client without a name is called in the log: its wire.
_WIRES = ("native", "memgpt", "sparky", "rest")


def _who(client: str | None) -> str:
    """The name of who said an input: that of its client, if it has one."""
    return client if client and client not in _WIRES else "user"


def _printable(text: str) -> str:
    """Without what would steer a terminal."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text
    )
