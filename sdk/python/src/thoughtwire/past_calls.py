"""Calls that an earlier run of a turn made, for a function that starts over."""

import json
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any

from . import events, frames


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call of an earlier run."""

    call: str
    #: Its result; None while it is open.
    returned: events.ToolReturned | None
    #: Whether it is open and nobody was asked about it, so that its outcome is unknown.
    in_doubt: bool


class PastCalls:
    """The calls of a resumed turn's past, each of which is taken once.

    >>> called = events.ToolCalled(call="c-1", name="pay", args={"euros": 5})
    >>> record = events.Record(seq=3, at="2026-01-01T00:00:00.000Z", turn="t-1", event=called)
    >>> run = frames.Run(agent="a-1", session="s-1", turn="t-1", resumed=True, history=(record,),
    ...     input=frames.Input(item="i-1", text="Pay."), unknown=("c-1",))
    >>> past = PastCalls(run)
    >>> past.take("pay", {"euros": 5})
    PastCall(call='c-1', returned=None, in_doubt=True)
    >>> past.take("pay", {"euros": 5})
    """

    def __init__(self, run: frames.Run) -> None:
        own = [record.event for record in run.history if record.turn == run.turn]
        #: Whether the past has all calls. The server cuts the past of a turn that has said a lot.
        self.is_whole = not run.resumed or any(
            isinstance(event, events.TurnStarted) for event in own
        )
        returned = {event.call: event for event in own if isinstance(event, events.ToolReturned)}
        asked = _asked(own)
        self._calls: defaultdict[str, deque[PastCall]] = defaultdict(deque)
        for event in own:
            if isinstance(event, events.ToolCalled):
                result = returned.get(event.call)
                # Not by `run.unknown`: older servers leave it empty for a process that comes back
                # under its worker's name.
                in_doubt = result is None and event.call not in asked
                past = PastCall(event.call, result, in_doubt)
                self._calls[_key(event.name, event.args)].append(past)

    def take(self, name: str, args: dict[str, Any]) -> PastCall | None:
        """Takes the first call of a tool with these arguments that was not taken yet."""
        calls = self._calls[_key(name, args)]
        return calls.popleft() if calls else None


def _asked(own: list[events.Event]) -> set[str]:
    """Returns the calls about which the owner or a client was asked and has not answered."""
    asked: set[str] = set()
    for event in own:
        if isinstance(event, (events.ApprovalAsked, events.ToolAwaited)):
            asked.add(event.call)
        elif isinstance(event, events.ApprovalSettled):
            asked.discard(event.call)
    return asked


def _key(name: str, args: dict[str, Any]) -> str:
    """Returns the same text for a tool and arguments that are equal as JSON."""
    return json.dumps([name, args], sort_keys=True)
