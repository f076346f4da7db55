"""What a client asks: the frames of the native wire, as PROTOCOL.md has them."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from .events import HistoryEntry, Id, ToolStatus
from .frames import Style, ToolDeclaration

Policy: TypeAlias = Literal["queue", "interrupt", "reject", "steer"]
Verdict: TypeAlias = Literal["approved", "denied"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who the client is."""

    type: ClassVar[str] = "hello"
    id: Id | None = None
    token: str | None = None
    client: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """Read a session: behind a position, the newest so many events, or from the head."""

    type: ClassVar[str] = "attach"
    id: Id | None = None
    session: Id
    after: int | None = None
    epoch: Id | None = None
    last: int | None = None
    tools: tuple[ToolDeclaration, ...] = ()

    def __post_init__(self) -> None:
        if self.after is not None and self.last is not None:
            raise ValueError('attach takes "after" or "last", not both')
        if self.epoch is not None and self.after is None:
            raise ValueError('attach has "epoch" without "after"; together they are a cursor')


@dataclass(frozen=True, slots=True, kw_only=True)
class Detach:
    """Stop reading a session. Its turns go on."""

    type: ClassVar[str] = "detach"
    id: Id | None = None
    session: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAgent:
    """Make an agent and its main session."""

    type: ClassVar[str] = "create_agent"
    id: Id | None = None
    name: str
    persona: str | None = None
    human: str | None = None
    model: str | None = None
    style: Style | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSession:
    """Open a session with an agent."""

    type: ClassVar[str] = "create_session"
    id: Id | None = None
    agent: str
    title: str | None = None
    instructions: str | None = None
    history: tuple[HistoryEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSession:
    """Delete a session and its log."""

    type: ClassVar[str] = "delete_session"
    id: Id | None = None
    session: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Say something."""

    type: ClassVar[str] = "send"
    id: Id | None = None
    session: Id
    text: str
    attachments: tuple[str, ...] = ()
    policy: Policy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Take a queued input back."""

    type: ClassVar[str] = "withdraw"
    id: Id | None = None
    session: Id | None = None
    input: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End the running turn."""

    type: ClassVar[str] = "cancel"
    id: Id | None = None
    session: Id
    turn: Id | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """Settle an approval."""

    type: ClassVar[str] = "decide"
    id: Id | None = None
    session: Id | None = None
    call: Id
    decision: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReturn:
    """The result of a tool that this client ran."""

    type: ClassVar[str] = "tool_return"
    id: Id | None = None
    session: Id | None = None
    call: Id
    status: ToolStatus
    text: str
    content: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """Give a session a title."""

    type: ClassVar[str] = "rename"
    id: Id | None = None
    session: Id
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Follow the list of sessions."""

    type: ClassVar[str] = "watch"
    id: Id | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Ask whether the server is there."""

    type: ClassVar[str] = "ping"
    id: Id | None = None


Command: TypeAlias = (
    CreateAgent | CreateSession | DeleteSession | Send | Withdraw | Cancel | Decide | ToolReturn | Rename
)
ClientFrame: TypeAlias = Command | Hello | Attach | Detach | Watch | Ping
