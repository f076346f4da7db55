"""The reply to one input, collected from a session's events."""

from dataclasses import dataclass
from typing import Literal

from . import events, frames


@dataclass(frozen=True, slots=True)
class Reply:
    """An agent's answer to one input."""

    #: The turn that answered. None when the input was withdrawn before.
    turn: str | None
    outcome: events.Outcome | Literal["withdrawn"]
    #: The texts of the agent's messages in that turn.
    messages: tuple[str, ...]
    #: Why the turn did not complete: a word for programs and a sentence for people.
    code: str | None = None
    reason: str | None = None

    @property
    def text(self) -> str:
        """The messages as one text."""
        return "\n\n".join(self.messages)


class ReplyCollector:
    """Follows one input from its acknowledgement to the end of its turn."""

    def __init__(self, ack: frames.Ack) -> None:
        self._seq = ack.seq
        self._input = ack.input
        self._turn: str | None = None
        #: Turns and texts by the message's item. A text that continues a cut one is joined to it.
        self._messages: dict[str, tuple[str | None, str]] = {}
        self._last = 0

    def take(self, seq: int, turn: str | None, event: events.Event) -> Reply | None:
        """Takes the session's next event. Returns the reply with the event that ends it."""
        if seq <= self._last:
            return None
        self._last = seq
        match event:
            case events.UserMessage() if seq == self._seq or event.item == self._input:
                self._input = event.item
                self._turn = turn or self._turn
                # The input may have joined a running turn. Earlier messages did not answer it.
                self._messages.clear()
            case events.TurnStarted() if event.input == self._input:
                self._turn = turn
            case events.Message():
                _, begin = self._messages.pop(event.continues or "", (turn, ""))
                self._messages[event.item] = (turn, begin + event.text)
            case events.InputWithdrawn() if event.input == self._input:
                return Reply(None, "withdrawn", ())
            case events.TurnEnded() if event.input == self._input or (
                turn is not None and turn == self._turn
            ):
                texts = tuple(text for of, text in self._messages.values() if of == turn)
                return Reply(turn, event.outcome, texts, event.code, event.reason)
            case events.TurnEnded():
                # Another turn ended. A queued input's own turn has not said anything yet.
                self._messages.clear()
            case _:
                pass
        return None
