"""Frames that a client sends, as PROTOCOL.md describes them."""

from typing import TypeAlias

from .generated import (
    Attach,
    Cancel,
    CreateAgent,
    CreateSession,
    Decide,
    DeleteSession,
    Detach,
    Hello,
    Ping,
    Policy,
    Rename,
    Send,
    ToolReturn,
    Verdict,
    Watch,
    Withdraw,
)

__all__ = [
    "Attach",
    "Cancel",
    "Command",
    "CreateAgent",
    "CreateSession",
    "Decide",
    "DeleteSession",
    "Detach",
    "Hello",
    "Ping",
    "Policy",
    "Rename",
    "Send",
    "ToolReturn",
    "Verdict",
    "Watch",
    "Withdraw",
    "check_attach",
]

#: Frames that the server answers with an `ack` or a refusal.
Command: TypeAlias = (
    CreateAgent
    | CreateSession
    | DeleteSession
    | Send
    | Withdraw
    | Cancel
    | Decide
    | ToolReturn
    | Rename
)


def check_attach(attach: Attach) -> None:
    """Checks the rules between an attach's keys, which its type cannot express.

    :raises ValueError: when keys exclude each other, or one lacks another.
    """
    if attach.after is not None and attach.last is not None:
        raise ValueError('attach takes "after" or "last", not both')
    if attach.epoch is not None and attach.after is None:
        raise ValueError('attach has "epoch" without "after"; together they are a cursor')
