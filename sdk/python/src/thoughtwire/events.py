"""Events: what happened, as the log keeps it and every wire tells it.

The words are those of PROTOCOL.md; `kind` is an event's word there. A kind that this version does not
know arrives as :class:`UnknownEvent`.

>>> match Message(item="i-3", text="It is 42.", complete=True):
...     case Message(text=text):
...         print(text)
It is 42.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

#: An opaque name of 1 to 64 printable characters.
Id: TypeAlias = Annotated[str, "id"]
Role: TypeAlias = Literal["user", "assistant"]
Decision: TypeAlias = Literal["approved", "denied", "expired", "void"]
ToolStatus: TypeAlias = Literal["success", "error"]
Outcome: TypeAlias = Literal["completed", "cancelled", "failed", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """Words from before a session."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened:
    """The first event of every session."""

    kind: ClassVar[str] = "session_opened"
    agent: Id
    instructions: str | None = None
    history: tuple[HistoryEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRenamed:
    """The session has a new title."""

    kind: ClassVar[str] = "session_renamed"
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionsChanged:
    """The session has new instructions; empty takes them away."""

    kind: ClassVar[str] = "instructions_changed"
    instructions: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMessage:
    """An input. Without a turn it waits in the queue; with one it joined that turn."""

    kind: ClassVar[str] = "user_message"
    item: Id
    text: str
    attachments: tuple[str, ...] = ()
    #: Which client said it. (`from` on the wire.)
    from_: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputWithdrawn:
    """A queued input was taken back."""

    kind: ClassVar[str] = "input_withdrawn"
    input: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted:
    """A turn runs on this input."""

    kind: ClassVar[str] = "turn_started"
    input: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """Inner monologue. `complete` is false for what was cut off."""

    kind: ClassVar[str] = "thought"
    item: Id
    text: str
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled:
    """A tool is about to run."""

    kind: ClassVar[str] = "tool_called"
    call: Id
    name: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked:
    """The call waits for a `decide`."""

    kind: ClassVar[str] = "approval_asked"
    call: Id
    name: str | None = None
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAwaited:
    """A client that declared the tool runs the call now."""

    kind: ClassVar[str] = "tool_awaited"
    call: Id
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalSettled:
    """Somebody decided, or the time was over, or the turn ended first (`void`)."""

    kind: ClassVar[str] = "approval_settled"
    call: Id
    decision: Decision
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReturned:
    """What a call came back with."""

    kind: ClassVar[str] = "tool_returned"
    call: Id
    name: str
    status: ToolStatus
    text: str
    content: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What the agent says to its user."""

    kind: ClassVar[str] = "message"
    item: Id
    text: str
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a turn, or a whole session, cost in tokens."""

    kind: ClassVar[str] = "usage"
    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEdited:
    """A core memory block changed; `by` is ``agent`` or ``owner``."""

    kind: ClassVar[str] = "memory_edited"
    block: str
    before: str
    after: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What came before `through` is summed up."""

    kind: ClassVar[str] = "compacted"
    summary: str
    through: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded:
    """A turn's one end."""

    kind: ClassVar[str] = "turn_ended"
    input: Id
    outcome: Outcome
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEvent:
    """An event of a kind from a newer server: its word, and its keys as they came."""

    kind: str
    keys: dict[str, Any]


Event: TypeAlias = (
    SessionOpened
    | SessionRenamed
    | InstructionsChanged
    | UserMessage
    | InputWithdrawn
    | TurnStarted
    | Thought
    | ToolCalled
    | ApprovalAsked
    | ToolAwaited
    | ApprovalSettled
    | ToolReturned
    | Message
    | Usage
    | MemoryEdited
    | Compacted
    | TurnEnded
    | UnknownEvent
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An event at its position in a session's log."""

    seq: int
    at: datetime
    turn: Id | None = None
    event: Event
