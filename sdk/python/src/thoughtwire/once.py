"""Calls that are made once over all attempts of a turn; see :meth:`Interface.call_once`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from . import checks, events, frames
from .errors import CallFailedError, OutcomeUnknown, RefusedError
from .past_calls import PastCall

if TYPE_CHECKING:
    from .interface import Interface

#: Treatment of a call that may have run already.
Replay: TypeAlias = Literal["safe", "ask", "never"]

_UNKNOWN = "The attempt before was lost during this call. It may or may not have taken effect."
_CUT = (
    "The turn's events are not complete, so nobody can tell whether this call was made before. Read"
    " the session's log, or pass replay='safe' if the tool may run twice."
)


@dataclass(frozen=True, slots=True)
class Begun:
    """A call whose tool may run now."""

    call: str


@dataclass(frozen=True, slots=True)
class Known:
    """The result of a call that need not run."""

    value: Any


async def begin(
    turn: "Interface", name: str, args: dict[str, Any], replay: Replay, timeout: float | None
) -> Begun | Known:
    """Announces a call, unless an earlier attempt has made it.

    :raises CallFailedError: when the call returned an error.
    :raises OutcomeUnknown: when nobody knows whether the call took effect, and it must not run
        again.
    """
    if replay not in ("safe", "ask", "never"):
        raise ValueError(f"replay must be 'safe', 'ask' or 'never', not {replay!r}")
    if not turn._turn.past_is_complete and replay != "safe":
        raise OutcomeUnknown(_CUT)
    past = turn._turn.past_calls.take(name, args)
    if past is None:
        return Begun(await turn.tool_called(name, args))
    if past.result is not None:
        return Known(_result(past.result, past.refused))
    if past.state == "asked":
        return await _approved(turn, past)
    if past.state == "at_client":
        returned = await turn.client_runs(past.call)
        return Known(_result(returned))
    if past.state == "asked_again":
        return await _again(turn, past.call)
    return await _decided(turn, past, replay, timeout)


async def succeeded(turn: "Interface", call: str, value: Any) -> Any:
    """Sends a call's result. Returns the value that a later attempt gets."""
    if value is None or isinstance(value, str):
        text = value or ""
        await turn.tool_returned(call, text)
        return text
    text = json.dumps(value, ensure_ascii=False)
    content = json.loads(text)
    await turn.tool_returned(call, text, content=content)
    return content


async def failed(turn: "Interface", call: str, error: Exception) -> CallFailedError:
    """Sends a call's error. Returns the error that the turn's function gets."""
    text = str(error) or type(error).__name__
    await turn.tool_returned(call, text, status="error")
    return CallFailedError(text)


async def _approved(turn: "Interface", past: PastCall) -> Begun | Known:
    """Waits for the owner, who was asked before the tool ran."""
    answer = await turn._turn.answer_to_question(past.call)
    if isinstance(answer, frames.CallReturned):
        return Known(_result(answer))
    if answer.decision == "approved":
        return Begun(past.call)
    raise RefusedError("forbidden", f"call {past.call} must not run: {answer.decision}", False)


async def _again(turn: "Interface", call: str) -> Begun | Known:
    """Waits for the owner's answer about a call in doubt. The server has written its result."""
    answer = await turn._turn.answer_to_question(call)
    if isinstance(answer, frames.CallReturned):
        return Known(_result(answer))
    return Begun(call)


async def _decided(
    turn: "Interface", past: PastCall, replay: Replay, timeout: float | None
) -> Begun | Known:
    if replay == "safe":
        await turn._retried(past.call)
        return Begun(past.call)
    if replay == "ask":
        await turn._ask_about_retry(past.call, timeout)
        return await _again(turn, past.call)
    await turn.tool_returned(past.call, _UNKNOWN, status="unknown")
    raise OutcomeUnknown(_UNKNOWN)


def _result(returned: Any, refused: bool = False) -> Any:
    """Returns a result's value, or raises its error."""
    status: events.ToolStatus = returned.status
    if refused:
        raise RefusedError("forbidden", returned.text, False)
    if status == "error":
        raise CallFailedError(returned.text)
    if status == "unknown":
        raise OutcomeUnknown(returned.text)
    return returned.text if returned.content is None else returned.content


def checked_args(args: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns a call's arguments as the log has them."""
    plain: dict[str, Any] = json.loads(json.dumps(checks.arguments(args)))
    return plain
