"""What a program that offers an agent says: the frames of the native wire, as PROTOCOL.md has them.

All but the offer are one frame there, `say`, with a `verb`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from .events import Id, ToolStatus
from .frames import StreamKind, ToolDeclaration


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """I run turns for this agent."""

    type: ClassVar[str] = "offer"
    id: Id | None = None
    agent: str
    worker: str | None = None
    turns: int | None = None
    history: int | None = None
    memory: bool = False
    tools: tuple[ToolDeclaration, ...] = ()
    cursors: dict[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalMonologue:
    """A whole thought; the `id` is its item."""

    type: ClassVar[str] = "say"
    verb: ClassVar[str] = "internal_monologue"
    id: Id
    turn: Id
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantMessage:
    """A whole message; the `id` is its item."""

    type: ClassVar[str] = "say"
    verb: ClassVar[str] = "assistant_message"
    id: Id
    turn: Id
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionMessage:
    """A line as MemGPT's agents give it."""

    type: ClassVar[str] = "say"
    verb: ClassVar[str] = "function_message"
    id: Id
    turn: Id
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled:
    """A tool is about to run; the `id` is the call's."""

    type: ClassVar[str] = "say"
    verb: ClassVar[str] = "tool_called"
    id: Id
    turn: Id
    name: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReturned:
    """What the call came back with."""

    type: ClassVar[str] = "say"
    verb: ClassVar[str] = "tool_returned"
    id: Id
    turn: Id
    call: Id
    status: ToolStatus
    text: str
    content: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Ask the owner's leave for an open call."""

    type: ClassVar[str] = "say"
    verb: ClassVar[str] = "approval"
    id: Id
    turn: Id
    call: Id
    timeout_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRuns:
    """Have a client run an open call."""

    type: ClassVar[str] = "say"
    verb: ClassVar[str] = "client_runs"
    id: Id
    turn: Id
    call: Id
    timeout_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of what comes whole later, under the `id` that is `item` here."""

    type: ClassVar[str] = "say"
    verb: ClassVar[str] = "delta"
    turn: Id
    item: Id
    n: int
    kind: StreamKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What goes on, for people."""

    type: ClassVar[str] = "say"
    verb: ClassVar[str] = "status"
    turn: Id
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the turn cost so far."""

    type: ClassVar[str] = "say"
    verb: ClassVar[str] = "usage"
    turn: Id
    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Ends the turn, with `text` as its last message."""

    type: ClassVar[str] = "say"
    verb: ClassVar[str] = "finish"
    id: Id
    turn: Id
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """Ends the turn as failed."""

    type: ClassVar[str] = "say"
    verb: ClassVar[str] = "fail"
    id: Id
    turn: Id
    code: str | None = None
    reason: str


#: What is acknowledged.
Verb: TypeAlias = (
    InternalMonologue
    | AssistantMessage
    | FunctionMessage
    | ToolCalled
    | ToolReturned
    | Approval
    | ClientRuns
    | Finish
    | Fail
)
Say: TypeAlias = Verb | Delta | Status | Usage
AgentFrame: TypeAlias = Offer | Say
