"""A turn's open calls, as its worker knows them."""

from . import frames, verbs
from .errors import RefusedError


class OpenCalls:
    """Tracks which calls are open, and which of them the owner or a client will return.

    >>> calls = OpenCalls((frames.Waiting(call="c-1", name="door", awaits="approval"),))
    >>> calls.all_wait
    True
    >>> calls.add(verbs.SayToolCalled(id="c-2", turn="t-1", name="calculator", args={}))
    >>> calls.all_wait
    False
    """

    def __init__(self, waiting: tuple[frames.Waiting, ...]) -> None:
        #: In the order of the calls.
        self._open = [one.call for one in waiting]
        self._waiting = {one.call for one in waiting}

    @property
    def all_wait(self) -> bool:
        """Whether each open call waits for the owner or a client."""
        return self._waiting.issuperset(self._open)

    def check(self, verb: verbs.AcknowledgedSay) -> None:
        """Checks whether a verb is allowed now.

        :raises RefusedError: when the verb returns a call that waits.
        """
        if isinstance(verb, verbs.SayToolReturned) and verb.call in self._waiting:
            reason = (
                f"call {verb.call} waits for its owner or a client; the worker can return it"
                " after their answer"
            )
            raise RefusedError("bad_request", reason, retry=False)

    def add(self, verb: verbs.AcknowledgedSay) -> None:
        """Records a verb that is about to be sent."""
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
        """Records an acknowledgement. A call that waited for approval may run now."""
        self._waiting.discard(id)

    def refused(self, id: str) -> None:
        """Records a refusal. A refused call does not exist."""
        self._close(id)

    def wait_for_answer(self, call: str) -> None:
        """Records that the owner or a client was asked about a call."""
        self._waiting.add(call)

    def answered(self, frame: frames.CallSettled | frames.CallReturned) -> None:
        """Records the answer of the owner or of a client."""
        self._waiting.discard(frame.call)
        if isinstance(frame, frames.CallReturned):
            self._close(frame.call)

    def _close(self, call: str) -> None:
        if call in self._open:
            self._open.remove(call)
