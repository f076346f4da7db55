"""Frames that a worker sends: its offer, and what it says in a turn.

PROTOCOL.md describes them. All but the offer are of the type `say` there, and differ by their
`verb`.
"""

from typing import TypeAlias

from .generated import (
    Offer,
    Say,
    SayApproval,
    SayAssistantMessage,
    SayClientRuns,
    SayDelta,
    SayFail,
    SayFinish,
    SayFunctionMessage,
    SayInternalMonologue,
    SayStatus,
    SayToolCalled,
    SayToolRetried,
    SayToolReturned,
    SayUsage,
)

__all__ = [
    "AcknowledgedSay",
    "Offer",
    "Say",
    "SayApproval",
    "SayAssistantMessage",
    "SayClientRuns",
    "SayDelta",
    "SayFail",
    "SayFinish",
    "SayFunctionMessage",
    "SayInternalMonologue",
    "SayStatus",
    "SayToolCalled",
    "SayToolRetried",
    "SayToolReturned",
    "SayUsage",
    "WorkerFrame",
]

#: Verbs that the server acknowledges. Each has an `id`.
AcknowledgedSay: TypeAlias = (
    SayInternalMonologue
    | SayAssistantMessage
    | SayFunctionMessage
    | SayToolCalled
    | SayToolReturned
    | SayToolRetried
    | SayApproval
    | SayClientRuns
    | SayFinish
    | SayFail
)
WorkerFrame: TypeAlias = Offer | Say
