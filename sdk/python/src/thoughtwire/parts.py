"""Joins frames that exceed the size limit and therefore come in parts."""

from . import frames
from .codec import BadFrame, decode_server_frame


class PartsError(Exception):
    """Parts are missing, or came in another order."""


class PartJoiner:
    """Joins the parts of frames. Each connection has its own.

    >>> joiner = PartJoiner()
    >>> joiner.take(frames.Part(part=0, parts=2, data='{"type":'))
    >>> joiner.take(frames.Part(part=1, parts=2, data='"pong"}'))
    Pong(id=None)
    """

    def __init__(self) -> None:
        self._data: list[str] = []

    def take(self, frame: frames.ServerFrame) -> frames.ServerFrame | None:
        """Takes the next frame. Returns a whole frame, or None while parts of it are missing.

        :raises PartsError: when parts are missing or come in another order.
        """
        expected = len(self._data)
        if not isinstance(frame, frames.Part):
            if expected:
                raise PartsError(f"a frame came after {expected} parts of another one")
            return frame
        if frame.part != expected:
            raise PartsError(f"part {frame.part} came where part {expected} was expected")
        self._data.append(frame.data)
        if len(self._data) < frame.parts:
            return None
        text = "".join(self._data)
        self._data.clear()
        try:
            return decode_server_frame(text)
        except BadFrame:
            # A type that this version does not know is ignored, as with a whole frame.
            return None
