"""JSON and the dataclasses that stand for it.

How a key is read and written follows from its field's type, so a frame is described once. Optional keys
are absent, never null; unknown keys are ignored.
"""

import dataclasses
import json
import types
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from . import commands, events, frames, verbs

#: Nesting beyond it is refused on both sides.
_DEEPEST = 127


class BadFrame(ValueError):
    """What came is no frame; `code` is the refusal code for it."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _Expected(Exception):
    """A value is not what its field wants; says what that would be."""


def decode_server_frame(wire: str) -> frames.ServerFrame:
    """Reads a frame of a server.

    >>> decode_server_frame('{"type":"caught_up","session":"s-1","seq":9}')
    CaughtUp(session='s-1', seq=9)

    :raises BadFrame: when it is none, or of a type from a newer server.
    """
    frame: frames.ServerFrame = _decode(wire, _SERVER)
    return frame


def decode_client_frame(wire: str) -> commands.ClientFrame | verbs.AgentFrame:
    """Reads a frame of a client or of a program that offers an agent.

    :raises BadFrame: when it is none.
    """
    frame: commands.ClientFrame | verbs.AgentFrame = _decode(wire, _CLIENT)
    return frame


def encode(frame: frames.ServerFrame | commands.ClientFrame | verbs.AgentFrame) -> str:
    """Writes a frame.

    >>> encode(commands.Detach(session="s-1"))
    '{"type":"detach","session":"s-1"}'

    :raises ValueError: when it holds what JSON cannot.
    """
    tags = {"type": frame.type}
    if isinstance(frame, get_args(verbs.Say)):
        tags["verb"] = frame.verb
    keys = {**tags, **_keys(frame)}
    try:
        wire = json.dumps(keys, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        wire.encode()
    except TypeError as error:
        raise ValueError(f"what {frame.type} holds is no JSON: {error}") from None
    return wire


def read(kind: type[Any], value: Any) -> Any:
    """Reads parsed JSON as a dataclass: what REST answers.

    :raises BadFrame: when it is not that.
    """
    try:
        return _reader(kind)(value)
    except _Expected as expected:
        raise BadFrame("bad_request", f"the answer must be {expected}") from None


def listing(ack: frames.Ack) -> frames.AgentListing | None:
    """The agent that an `ack` tells, with its main session beside it; nothing when it does not.

    >>> ack = frames.Ack(id="c-1", agent=frames.AgentProfile(id="a-1", name="ada"), session="s-1")
    >>> listing(ack).main_session
    's-1'
    """
    if ack.agent is None or ack.session is None:
        return None
    told = {field.name: getattr(ack.agent, field.name) for field in dataclasses.fields(frames.AgentProfile)}
    return frames.AgentListing(**told, main_session=ack.session)


def _decode(wire: str, known: dict[str, Any]) -> Any:
    keys = _parse(wire)
    word = keys.get("type")
    if not isinstance(word, str):
        raise BadFrame("bad_request", 'the frame needs "type" (a string)')
    kind = known.get(word)
    if kind is None:
        raise BadFrame("unknown_type", f'the type "{word[:32]}" is not known here')
    if kind is verbs.Say:
        kind = _SAY.get(keys.get("verb", ""))
        if kind is None:
            raise BadFrame("bad_request", "the \"verb\" of say must be one of an agent's")
    try:
        return _build(kind, keys, word)
    except ValueError as error:
        if isinstance(error, BadFrame):
            raise
        raise BadFrame("bad_request", str(error)) from None


def _parse(wire: str) -> dict[str, Any]:
    try:
        value = json.loads(wire, parse_constant=_no_constant)
        if "\\u" in wire:
            # A lone surrogate has no UTF-8.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadFrame("bad_frame", f"the frame is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadFrame("bad_frame", "the frame must be a JSON object")
    if wire.count("[") + wire.count("{") > _DEEPEST and _depth(value) > _DEEPEST:
        raise BadFrame("too_large", f"the frame is nested more than {_DEEPEST} levels deep")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _depth(value: Any) -> int:
    inner: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0) if isinstance(value, (dict, list)) else 0


def _build(kind: Any, keys: dict[str, Any], word: str) -> Any:
    built = {}
    for name, wire_name, reader, required in _fields(kind):
        if wire_name not in keys:
            if required:
                raise BadFrame("bad_request", f'{word} needs "{wire_name}"')
            continue
        try:
            built[name] = reader(keys[wire_name])
        except _Expected as expected:
            raise BadFrame("bad_request", f'the "{wire_name}" of {word} must be {expected}') from None
    return kind(**built)


_Reader = Callable[[Any], Any]


@lru_cache(maxsize=None)
def _fields(kind: Any) -> tuple[tuple[str, str, _Reader, bool], ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        (field.name, field.name.rstrip("_"), _reader(hints[field.name]), field.default is dataclasses.MISSING)
        for field in dataclasses.fields(kind)
    )


def _reader(hint: Any) -> _Reader:
    """How a value of this type is read from JSON."""
    if hint == events.Event:
        return _event
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _id
    if origin in (Union, types.UnionType):
        # Optional: the key is absent, never null.
        (inner,) = (arg for arg in args if arg is not type(None))
        return _reader(inner)
    if origin is Literal:
        return _one_of(args)
    if origin is tuple:
        return _list_of(_reader(args[0]))
    if origin is dict:
        return _object_of(_reader(args[1]))
    if dataclasses.is_dataclass(hint):
        return _object_as(hint)
    return _PLAIN[hint]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Expected("a string")
    return value


def _id(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 64 or not value.isprintable():
        raise _Expected("a string of 1 to 64 printable characters")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _Expected("a whole number, not negative")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Expected("true or false")
    return value


def _instant(value: Any) -> datetime:
    try:
        at = datetime.fromisoformat(_text(value).replace("Z", "+00:00"))
    except ValueError:
        raise _Expected("an instant as RFC 3339 writes it") from None
    return at.astimezone(timezone.utc)


def _anything(value: Any) -> Any:
    return value


def _one_of(words: tuple[str, ...]) -> _Reader:
    def read_word(value: Any) -> Any:
        if value not in words or not isinstance(value, str):
            raise _Expected(" or ".join(f'"{word}"' for word in words))
        return value

    return read_word


def _list_of(inner: _Reader) -> _Reader:
    def read_list(value: Any) -> Any:
        if not isinstance(value, list):
            raise _Expected("a list")
        return tuple(map(inner, value))

    return read_list


def _object_of(inner: _Reader) -> _Reader:
    def read_object(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _Expected("an object")
        return {key: inner(item) for key, item in value.items()}

    return read_object


def _object_as(kind: Any) -> _Reader:
    def read_object(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _Expected("an object")
        try:
            return _build(kind, value, kind.__name__)
        except BadFrame as bad:
            raise _Expected(f"an object; {bad}") from None

    return read_object


def _event(value: Any) -> events.Event:
    word = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(word, str):
        raise _Expected('an event: an object with a "kind"')
    kind = _EVENTS.get(word)
    if kind is None:
        return events.UnknownEvent(kind=word, keys={key: item for key, item in value.items() if key != "kind"})
    event: events.Event = _object_as(kind)(value)
    return event


def _keys(value: Any) -> dict[str, Any]:
    """A dataclass as JSON's object; what has its default of none, empty or false is left out."""
    written = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if field.default is not dataclasses.MISSING and item in _LEFT_OUT and item == field.default:
            continue
        written[field.name.rstrip("_")] = _write_event(item) if field.type is events.Event else _write(item)
    return written


_LEFT_OUT: tuple[Any, ...] = (None, (), False)


def _write(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, tuple):
        return [_write(item) for item in value]
    return _keys(value) if dataclasses.is_dataclass(value) else value


def _write_event(event: events.Event) -> dict[str, Any]:
    keys = event.keys if isinstance(event, events.UnknownEvent) else _keys(event)
    return {"kind": event.kind, **keys}


_PLAIN: dict[Any, _Reader] = {
    str: _text,
    int: _count,
    bool: _truth,
    datetime: _instant,
    Any: _anything,
}
_SERVER: dict[str, Any] = {kind.type: kind for kind in get_args(frames.ServerFrame)}
_CLIENT: dict[str, Any] = {
    **{kind.type: kind for kind in (*get_args(commands.ClientFrame), verbs.Offer)},
    "say": verbs.Say,
}
_SAY: dict[Any, Any] = {kind.verb: kind for kind in get_args(verbs.Say)}
_EVENTS: dict[str, type[Any]] = {
    kind.kind: kind for kind in get_args(events.Event) if kind is not events.UnknownEvent
}
