"""Reads JSON frames as dataclasses, and writes them.

The type of a field decides how its key is read and written, so each frame is described only once.
Optional keys are absent, never null. Unknown keys are ignored.
"""

import dataclasses
import json
import types
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from . import commands, events, frames, generated, verbs
from .generated import ClientFrame

#: Deeper nesting is refused, by the server as well.
_MAX_DEPTH = 127


class BadFrame(ValueError):
    """A text is not a valid frame. `code` is the refusal code for it."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _Expected(Exception):
    """A value does not fit its field. The message names what the field takes."""


def decode_server_frame(wire: str) -> frames.ServerFrame:
    """Reads a frame that a server sent.

    >>> decode_server_frame('{"type":"caught_up","session":"s-1","seq":9}')
    CaughtUp(session='s-1', seq=9)

    :raises BadFrame: when the text is not a frame, or is of a type from a newer server.
    """
    frame: frames.ServerFrame = _decode(wire, _SERVER_FRAMES)
    return frame


def decode_client_frame(wire: str) -> ClientFrame:
    """Reads a frame that a client or a worker sent.

    :raises BadFrame: when the text is not a frame.
    """
    frame: ClientFrame = _decode(wire, _CLIENT_FRAMES)
    if isinstance(frame, commands.Attach):
        try:
            commands.check_attach(frame)
        except ValueError as error:
            raise BadFrame("bad_request", str(error)) from None
    return frame


def encode(frame: frames.ServerFrame | ClientFrame) -> str:
    """Writes a frame.

    >>> encode(commands.Detach(session="s-1"))
    '{"type":"detach","session":"s-1"}'

    :raises ValueError: when the frame holds a value that JSON cannot express.
    """
    tags = {"type": frame.type}
    if isinstance(frame, verbs.Say):
        tags["verb"] = frame.verb
    keys = {**tags, **_keys(frame)}
    try:
        wire = json.dumps(keys, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        wire.encode()
    except TypeError as error:
        raise ValueError(f"the {frame.type} frame cannot be written as JSON: {error}") from None
    return wire


def read(kind: type[Any], value: Any) -> Any:
    """Reads parsed JSON of a REST answer as a dataclass.

    :raises BadFrame: when the JSON does not fit the dataclass.
    """
    try:
        return _reader(kind)(value)
    except _Expected as expected:
        raise BadFrame("bad_request", f"the answer must be {expected}") from None


def listing(ack: frames.Ack) -> frames.AgentListing | None:
    """Returns the agent in an `ack` together with its main session, or None without an agent.

    >>> ack = frames.Ack(id="c-1", agent=frames.AgentProfile(id="a-1", name="ada"), session="s-1")
    >>> listing(ack).main_session
    's-1'
    """
    if ack.agent is None or ack.session is None:
        return None
    names = [field.name for field in dataclasses.fields(frames.AgentProfile)]
    profile = {name: getattr(ack.agent, name) for name in names}
    return frames.AgentListing(**profile, main_session=ack.session)


def _decode(wire: str, known: dict[str, Any]) -> Any:
    keys = _parse(wire)
    word = keys.get("type")
    if not isinstance(word, str):
        raise BadFrame("bad_request", 'the frame needs "type" (a string)')
    kind = known.get(word)
    if kind is None:
        raise BadFrame("unknown_type", f'the type "{word[:32]}" is not known here')
    if kind is verbs.Say:
        verb = keys.get("verb")
        kind = _SAY_VERBS.get(verb) if isinstance(verb, str) else None
        if kind is None:
            raise BadFrame("bad_request", 'the "verb" of say must be one that PROTOCOL.md lists')
    try:
        return _build(kind, keys, word)
    except BadFrame:
        raise
    except ValueError as error:
        raise BadFrame("bad_request", str(error)) from None


def _parse(wire: str) -> dict[str, Any]:
    try:
        value = json.loads(wire, parse_constant=_refuse_constant)
        if "\\u" in wire:
            # A lone surrogate has no UTF-8.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadFrame("bad_frame", f"the frame is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadFrame("bad_frame", "the frame must be a JSON object")
    if wire.count("[") + wire.count("{") > _MAX_DEPTH and _depth(value) > _MAX_DEPTH:
        raise BadFrame("too_large", f"the frame is nested more than {_MAX_DEPTH} levels deep")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


def _depth(value: Any) -> int:
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list):
        inner = value
    else:
        return 0
    return 1 + max(map(_depth, inner), default=0)


def _build(kind: Any, keys: dict[str, Any], word: str) -> Any:
    built = {}
    for name, key, reader, required in _fields(kind):
        if key not in keys:
            if required:
                raise BadFrame("bad_request", f'{word} needs "{key}"')
            continue
        try:
            built[name] = reader(keys[key])
        except _Expected as expected:
            reason = f'the "{key}" of {word} must be {expected}'
            raise BadFrame("bad_request", reason) from None
    return kind(**built)


_Reader = Callable[[Any], Any]


@cache
def _fields(kind: Any) -> tuple[tuple[str, str, _Reader, bool], ...]:
    """Lists a dataclass's fields: name, key on the wire, reader, and whether it is required."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        (
            field.name,
            field.name.rstrip("_"),
            _reader(hints[field.name]),
            field.default is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    )


def _reader(hint: Any) -> _Reader:
    """Returns the function that reads a value of this type from JSON."""
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
        raise _Expected("a time in RFC 3339 format") from None
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
        keys = {key: item for key, item in value.items() if key != "kind"}
        return events.UnknownEvent(kind=word, keys=keys)
    event: events.Event = _object_as(kind)(value)
    return event


def _keys(value: Any) -> dict[str, Any]:
    """Writes a dataclass as a JSON object, without fields that have their empty default."""
    written = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        has_default = field.default is not dataclasses.MISSING
        if has_default and item in _EMPTY and item == field.default:
            continue
        write = _write_event if field.type is events.Event else _write
        written[field.name.rstrip("_")] = write(item)
    return written


_EMPTY: tuple[Any, ...] = (None, (), False)


def _write(value: Any) -> Any:
    if isinstance(value, datetime):
        text = value.astimezone(timezone.utc).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z")
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
_SERVER_FRAMES: dict[str, Any] = {kind.type: kind for kind in get_args(generated.ServerFrame)}
_CLIENT_FRAMES: dict[str, Any] = {kind.type: kind for kind in get_args(generated.ClientFrame)}
_CLIENT_FRAMES["say"] = verbs.Say
_SAY_VERBS: dict[str, Any] = {kind.verb: kind for kind in get_args(verbs.Say)}
_EVENTS: dict[str, type[Any]] = {
    kind.kind: kind for kind in get_args(events.Event) if kind is not events.UnknownEvent
}
