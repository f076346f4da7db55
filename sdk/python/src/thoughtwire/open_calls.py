"""A turn's open calls, as its program knows them."""

from . import frames, verbs
from .errors import RefusedError


class OpenCalls:
    """Which calls are open, and which of them people and clients will return.

    >>> calls = OpenCalls((frames.Waiting(call="c-1", name="door", awaits="approval"),))
    >>> calls.all_wait
    True
    >>> calls.said(verbs.SayToolCalled(id="c-2", turn="t-1", name="calculator", args={}))
    >>> calls.all_wait
    False
    """

    def __init__(self, waiting: tuple[frames.Waiting, ...]) -> None:
        #: In the order of the calls.
        self._open = [one.call for one in waiting]
        self._waiting = {one.call for one in waiting}

    @property
    def all_wait(self) -> bool:
        """Whether each waits for people or a client."""
        return self._waiting.issuperset(self._open)

    def check(self, verb: verbs.AcknowledgedSay) -> None:
        """Looks whether a verb can be said.

        :raises RefusedError: when it returns a call that waits.
        """
        if isinstance(verb, verbs.SayToolReturned) and verb.call in self._waiting:
            reason = f"call {verb.call} waits for people or a client; it can be returned when they have answered"
            raise RefusedError("bad_request", reason, False)

    def said(self, verb: verbs.AcknowledgedSay) -> None:
        """A verb goes out."""
        if isinstance(verb, verbs.SayToolCalled):
            self._open.append(verb.id)
        elif isinstance(verb, verbs.SayToolReturned):
            self._close(verb.call)
        elif isinstance(verb, verbs.SayFunctionMessage):
            if verb.text.startswith("Running "):
                self._open.append(verb.id)
            elif verb.text.startswith(("Success: ", "Error: ")):
                for call in [call for call in self._open if call not in self._waiting][-1:]:
                    self._close(call)

    def acknowledged(self, id: str) -> None:
        """A verb was acknowledged: if it was a call that waited for approval, it may run."""
        self._waiting.discard(id)

    def refused(self, id: str) -> None:
        """A verb was refused: if it was a call, there is none."""
        self._close(id)

    def waits(self, call: str) -> None:
        """People or a client have it now."""
        self._waiting.add(call)

    def answered(self, frame: frames.CallSettled | frames.CallReturned) -> None:
        """They answered."""
        self._waiting.discard(frame.call)
        if isinstance(frame, frames.CallReturned):
            self._close(frame.call)

    def _close(self, call: str) -> None:
        if call in self._open:
            self._open.remove(call)
