"""Events: what happened in a session, as its log stores it and every client receives it.

PROTOCOL.md describes each kind; an event's `kind` is its name there. An event of a kind that this
version does not know arrives as :class:`UnknownEvent`.

>>> match Message(item="i-3", text="It is 42.", complete=True):
...     case Message(text=text):
...         print(text)
It is 42.
"""

from .generated import (
    ApprovalAbout,
    ApprovalAsked,
    ApprovalSettled,
    Compacted,
    Decision,
    Event,
    HistoryEntry,
    Id,
    InputWithdrawn,
    InstructionsChanged,
    MemoryEdited,
    Message,
    Outcome,
    Record,
    Role,
    SessionOpened,
    SessionRenamed,
    Thought,
    ToolAwaited,
    ToolCalled,
    ToolRetried,
    ToolReturned,
    ToolStatus,
    TurnEnded,
    TurnResumed,
    TurnStarted,
    UnknownEvent,
    Usage,
    UserMessage,
)

__all__ = [
    "ApprovalAbout",
    "ApprovalAsked",
    "ApprovalSettled",
    "Compacted",
    "Decision",
    "Event",
    "HistoryEntry",
    "Id",
    "InputWithdrawn",
    "InstructionsChanged",
    "MemoryEdited",
    "Message",
    "Outcome",
    "Record",
    "Role",
    "SessionOpened",
    "SessionRenamed",
    "Thought",
    "ToolAwaited",
    "ToolCalled",
    "ToolRetried",
    "ToolReturned",
    "ToolStatus",
    "TurnEnded",
    "TurnResumed",
    "TurnStarted",
    "UnknownEvent",
    "Usage",
    "UserMessage",
]
