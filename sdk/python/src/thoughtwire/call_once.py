"""Calls whose effect happens once, although a turn's function starts over after a crash."""

import json
import uuid
from dataclasses import dataclass
from typing import Any, get_args

from . import checks, events, frames, verbs
from .errors import CallFailed, EndedError, OutcomeUnknown, RefusedError
from .generated import Replay
from .past_calls import PastCall
from .turn import Turn


@dataclass(frozen=True, slots=True)
class Due:
    """A call to make now."""

    call: str


@dataclass(frozen=True, slots=True)
class Done:
    """A call that has a result, from an earlier run or from the owner."""

    result: Any


async def begin(turn: Turn, name: str, args: dict[str, Any], replay: Replay | None) -> Due | Done:
    """Finds a call in the turn's past, or announces it.

    :param replay: what happens to a call whose outcome is unknown. None stands for the declared
        tool's class, and for ``ask`` if there is none.
    :raises CallFailed: when the call has failed.
    :raises OutcomeUnknown: when nobody knows whether it took effect.
    """
    replay = replay or turn.replay_classes.get(name, "ask")
    if replay not in get_args(Replay):
        known = " or ".join(map(repr, get_args(Replay)))
        raise ValueError(f"`replay` must be {known}, not {replay!r}")
    # The oldest calls are missing then, so that the n-th call of the rest is another one.
    if not turn.past_calls.is_whole:
        raise OutcomeUnknown(name, "the turn's past is too large to come as a whole")
    past = turn.past_calls.take(name, args)
    if past is not None:
        return await _again(turn, name, past, replay)
    call = str(uuid.uuid4())
    await (await turn.say(verbs.SayToolCalled(id=call, turn=turn.id, name=name, args=args)))
    return Due(call)


async def returned(turn: Turn, call: str, result: Any) -> Any:
    """Sends a call's result. Returns it in the form in which a later run gets it.

    :raises TypeError: when the result is not a value of JSON. The call is returned as an error.
    """
    try:
        text, content = _recorded(result)
    except (TypeError, ValueError) as error:
        await failed(turn, call, error)
        raise TypeError(f"a call's result must be a str, or a value of JSON: {error}") from None
    await _return(turn, call, "success", text, content)
    return text if content is None else content


async def failed(turn: Turn, call: str, error: Exception) -> None:
    """Sends the error of a call, unless the turn has ended."""
    if not turn.ended:
        await _return(turn, call, "error", str(error) or type(error).__name__)


async def _again(turn: Turn, name: str, past: PastCall, replay: Replay) -> Due | Done:
    if past.returned is not None:
        return _result(name, past.returned)
    if not past.in_doubt:
        return _answered(name, await turn.answer_about(past.call))
    if replay == "never":
        reason = "it was running when its worker was lost"
        await _return(turn, past.call, "unknown", f"The outcome is unknown: {reason}.")
        raise OutcomeUnknown(name, reason)
    if replay == "ask":
        return _answered(name, await turn.may_retry(past.call))
    await (await turn.say(verbs.SayToolRetried(id=_new_id(), turn=turn.id, call=past.call)))
    return Due(past.call)


def _answered(name: str, answer: frames.CallSettled | frames.CallReturned) -> Due | Done:
    if isinstance(answer, frames.CallReturned):
        return _result(name, answer)
    if answer.decision == "approved":
        return Due(answer.call)
    if answer.decision == "void":
        raise EndedError("the turn has ended")
    raise RefusedError("forbidden", f"the owner did not allow the call of {name}", False)


def _result(name: str, returned: events.ToolReturned | frames.CallReturned) -> Done:
    if returned.status == "unknown":
        raise OutcomeUnknown(name, returned.text)
    if returned.status == "error":
        raise CallFailed(returned.text)
    return Done(returned.text if returned.content is None else returned.content)


def _recorded(result: Any) -> tuple[str, Any]:
    """Returns the text and the content that are stored for a result."""
    if result is None:
        return "", None
    if isinstance(result, str):
        return result, None
    text = json.dumps(result, ensure_ascii=False, allow_nan=False)
    return text, json.loads(text)


async def _return(
    turn: Turn, call: str, status: events.ToolStatus, text: str, content: Any = None
) -> None:
    verb = verbs.SayToolReturned(
        id=_new_id(),
        turn=turn.id,
        call=call,
        status=checks.status(status),
        text=text,
        content=content,
    )
    turn.raise_refusal_later(await turn.say(verb))


def _new_id() -> str:
    return str(uuid.uuid4())
