"""Calls of a resumed turn that an earlier attempt made, as the turn's own events tell them."""

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from . import events
from .events import Record

#: What an earlier attempt left of a call: a result, a question to the owner or to a client that is
#: not answered, or nothing, so that nobody knows whether the tool ran.
PastState: TypeAlias = Literal["returned", "asked", "asked_again", "at_client", "in_doubt"]


@dataclass(slots=True)
class PastCall:
    """A call of an earlier attempt. `asked_again` waits for leave to repeat the call."""

    call: str
    state: PastState = "in_doubt"
    #: Whether the owner did not allow the call, so that it never ran.
    refused: bool = False
    result: events.ToolReturned | None = None


class PastCalls:
    """Finds the call of an earlier attempt for a call that is made once.

    The n-th request for a name and arguments gets the n-th call with these.
    """

    def __init__(self, so_far: Iterable[Record]) -> None:
        self._queues: defaultdict[str, deque[PastCall]] = defaultdict(deque)
        known: dict[str, PastCall] = {}
        for record in so_far:
            event = record.event
            if isinstance(event, events.ToolCalled):
                past = known[event.call] = PastCall(event.call)
                self._queues[_key(event.name, event.args)].append(past)
            elif (call := getattr(event, "call", None)) in known:
                _apply(known[call], event)

    def take(self, name: str, args: Mapping[str, Any]) -> PastCall | None:
        """Returns the next call with this name and these arguments."""
        queue = self._queues.get(_key(name, args))
        return queue.popleft() if queue else None


def _apply(past: PastCall, event: events.Event) -> None:
    match event:
        case events.ApprovalAsked(about=about):
            past.state = "asked_again" if about == "retry" else "asked"
        case events.ApprovalSettled(decision=decision):
            past.refused = past.state == "asked" and decision in ("denied", "expired")
            past.state = "in_doubt"
        case events.ToolAwaited():
            past.state = "at_client"
        case events.ToolReturned():
            past.state, past.result = "returned", event
        case _:
            pass


def _key(name: str, args: Mapping[str, Any]) -> str:
    # A round trip, so that arguments equal those that come from the log.
    args = json.loads(json.dumps(args), parse_float=_number)
    return json.dumps([name, args], sort_keys=True)


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number
