"""Frames that are larger than the limit come in parts."""

from . import frames
from .codec import BadFrame, decode_server_frame


class PartsError(Exception):
    """Parts are missing, or came in another order."""


class PartJoiner:
    """Joins the parts of frames. One per connection.

    >>> joiner = PartJoiner()
    >>> joiner.take(frames.Part(part=0, parts=2, data='{"type":'))
    >>> joiner.take(frames.Part(part=1, parts=2, data='"pong"}'))
    Pong(id=None)
    """

    def __init__(self) -> None:
        self._data: list[str] = []

    def take(self, frame: frames.ServerFrame) -> frames.ServerFrame | None:
        """Takes a frame as it came; gives a whole one, or nothing while parts of it are missing.

        :raises PartsError: when parts are missing or come in another order.
        """
        due = len(self._data)
        if not isinstance(frame, frames.Part):
            if due:
                raise PartsError(f"a frame came after {due} parts of another one")
            return frame
        if frame.part != due:
            raise PartsError(f"part {frame.part} came where part {due} was due")
        self._data.append(frame.data)
        if len(self._data) < frame.parts:
            return None
        text = "".join(self._data)
        self._data.clear()
        try:
            return decode_server_frame(text)
        except BadFrame:
            # As with a whole frame of a kind that this version does not know.
            return None
