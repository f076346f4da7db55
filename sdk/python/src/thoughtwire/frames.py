"""What the server says: the frames of the native wire, as PROTOCOL.md has them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeAlias

from .events import Decision, Event, Id, Record, ToolStatus, Usage

StreamKind: TypeAlias = Literal["thought", "message", "tool_args"]
Disposition: TypeAlias = Literal["started", "queued", "steered"]
Style: TypeAlias = Literal["native", "memgpt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a connection may, each absent when not told."""

    frame_bytes: int | None = None
    attached_sessions: int | None = None
    queued_inputs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The first frame."""

    type: ClassVar[str] = "welcome"
    protocol: str
    server: str
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfile:
    """An agent, as the server tells it."""

    id: Id
    name: str
    persona: str | None = None
    human: str | None = None
    model: str | None = None
    style: Style | None = None
    preset: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentListing(AgentProfile):
    """An agent, as the server lists it."""

    main_session: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionListing:
    """A session, as the server lists it; `usage` is what all its turns have cost."""

    id: Id
    agent: Id
    agent_name: str
    title: str | None = None
    head: int
    running: bool
    queued: int
    main: bool
    #: Whether a call of the running turn waits for its owner's approval.
    needs_you: bool = False
    usage: Usage | None = None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDeclaration:
    """A tool that somebody else than the server runs."""

    name: str
    description: str = ""
    #: The JSON Schema of its arguments.
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What an agent was told."""

    item: Id
    text: str
    attachments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The yes to an `attach`."""

    type: ClassVar[str] = "attached"
    id: Id | None = None
    session: Id
    agent: Id
    epoch: Id
    first: int
    head: int
    recovered: bool
    turn: Id | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtUp:
    """Everything up to `seq` was sent; what follows is live."""

    type: ClassVar[str] = "caught_up"
    session: Id
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The yes to a command; what it acknowledges is on disk."""

    type: ClassVar[str] = "ack"
    id: Id
    agent: AgentProfile | None = None
    session: Id | None = None
    seq: int | None = None
    disposition: Disposition | None = None
    input: Id | None = None
    duplicate: bool = False
    #: To an `offer`: the program's name, and the turns that are still its.
    worker: str | None = None
    turns: tuple[Id, ...] | None = None
    #: To a `finish`: the inputs that joined the turn meanwhile.
    steered: tuple[Input, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The no to a command."""

    type: ClassVar[str] = "refused"
    id: Id | None = None
    code: str
    reason: str
    retry: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFrame:
    """Something that happened, at its position."""

    type: ClassVar[str] = "event"
    session: Id
    seq: int
    at: datetime
    turn: Id | None = None
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of an open item, as it is said."""

    type: ClassVar[str] = "delta"
    session: Id
    turn: Id
    item: Id
    n: int
    kind: StreamKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """An open item's text so far; `n` is the next delta's."""

    type: ClassVar[str] = "partial"
    session: Id
    turn: Id
    item: Id
    n: int
    kind: StreamKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What goes on, for people. Not stored."""

    type: ClassVar[str] = "status"
    session: Id
    turn: Id | None = None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """How many clients are attached."""

    type: ClassVar[str] = "presence"
    session: Id
    clients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionChanged:
    """A session that `watch` shows. (`session` on the wire.)"""

    type: ClassVar[str] = "session"
    listing: SessionListing


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionGone:
    """A session that is not there any more."""

    type: ClassVar[str] = "session_gone"
    session: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """The server ended an attachment."""

    type: ClassVar[str] = "detached"
    session: Id
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """The answer to a `ping`."""

    type: ClassVar[str] = "pong"
    id: Id | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Goaway:
    """The server is about to stop."""

    type: ClassVar[str] = "goaway"
    reason: str
    retry_after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a frame that is larger than the limit: the `data` of all parts is the frame's text."""

    type: ClassVar[str] = "part"
    session: Id | None = None
    seq: int | None = None
    part: int
    parts: int
    data: str


# What the server says to a program that offers an agent.


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBlock:
    """A block of an agent's core memory; `limit` is in characters."""

    label: str
    text: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An open call that waits for its owner's leave, or for a client to run it."""

    call: Id
    name: str
    awaits: Literal["approval", "client"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run this turn."""

    type: ClassVar[str] = "run"
    agent: Id
    session: Id
    turn: Id
    input: Input
    instructions: str | None = None
    after: int | None = None
    history: tuple[Record, ...] = ()
    memory: tuple[MemoryBlock, ...] = ()
    client_tools: tuple[ToolDeclaration, ...] = ()
    permissions: dict[str, Literal["ask", "deny"]] | None = None
    waiting: tuple[Waiting, ...] = ()
    resumed: bool = False
    #: By item, how many of its deltas have arrived.
    open: dict[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelled:
    """The turn has ended without its program. (`cancel` on the wire.)"""

    type: ClassVar[str] = "cancel"
    session: Id
    turn: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettled:
    """What came of an `approval`. (`approval_settled` on the wire.)"""

    type: ClassVar[str] = "approval_settled"
    turn: Id
    call: Id
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReturned:
    """A client ran the call, or none did in time. (`tool_returned` on the wire.)"""

    type: ClassVar[str] = "tool_returned"
    turn: Id
    call: Id
    status: ToolStatus
    text: str
    content: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferEnded:
    """The offer no longer holds."""

    type: ClassVar[str] = "offer_ended"
    agent: Id
    worker: str
    reason: str


ServerFrame: TypeAlias = (
    Welcome
    | Attached
    | CaughtUp
    | Ack
    | Refused
    | EventFrame
    | Delta
    | Partial
    | Status
    | Presence
    | SessionChanged
    | SessionGone
    | Detached
    | Pong
    | Goaway
    | Part
    | Run
    | RunCancelled
    | CallSettled
    | CallReturned
    | OfferEnded
)
