"""Answers about calls that an earlier run of a turn made."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TypeAlias

from . import events, frames
from .errors import EndedError

Answer: TypeAlias = frames.CallSettled | frames.CallReturned
AnswerFuture: TypeAlias = asyncio.Future[Answer]


def _future() -> AnswerFuture:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class _Question:
    """The question whether a call may be made again."""

    #: Number of decisions about the call before the question.
    decided: int
    answer: AnswerFuture = field(default_factory=_future)
    #: Acknowledgement of the question: it is on disk.
    ack: asyncio.Future[frames.Ack] | None = None

    @property
    def is_asked(self) -> bool:
        return self.ack is not None and self.ack.done()


class CallAnswers:
    """Answers about open calls: a decision, or a result that the session has written.

    Invariant: an earlier decision about a call never answers the question whether the call may be
    made again. tests/test_call_once.py
    """

    def __init__(self) -> None:
        self._answers: defaultdict[str, AnswerFuture] = defaultdict(_future)
        self._questions: dict[str, _Question] = {}

    def of(self, call: str) -> AnswerFuture:
        """Returns the future answer about a call that waits already."""
        return self._answers[call]

    def ask(self, call: str, run: frames.Run) -> _Question:
        """Begins the question whether a call may be made again."""
        question = _Question(_decisions(run, call))
        self._questions[call] = question
        return question

    def received(self, answer: Answer) -> bool:
        """Takes an answer that has arrived. Returns whether it is about the latest question."""
        question = self._questions.get(answer.call)
        # The server sends the earlier decisions before it acknowledges the question.
        if (
            question is not None
            and isinstance(answer, frames.CallSettled)
            and not question.is_asked
        ):
            return False
        _settle(self._answers[answer.call] if question is None else question.answer, answer)
        return True

    def recorded(self, answer: Answer, run: frames.Run) -> bool:
        """Takes an answer from a turn's history. Returns whether the latest question got it."""
        question = self._questions.get(answer.call)
        if question is None or isinstance(answer, frames.CallReturned):
            return self.received(answer)
        if _decisions(run, answer.call) <= question.decided:
            return False
        _settle(question.answer, answer)
        return True

    def end(self, reason: str) -> None:
        """Ends all waits with an :class:`EndedError`."""
        questions = (question.answer for question in self._questions.values())
        for answer in [*self._answers.values(), *questions]:
            if not answer.done():
                answer.set_exception(EndedError(reason))
                # Marked as retrieved: nobody may be waiting for it.
                answer.exception()


def _settle(future: AnswerFuture, answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


def _decisions(run: frames.Run, call: str) -> int:
    """Number of decisions about a call in a turn's history."""
    settled = (record.event for record in run.history if record.turn == run.turn)
    return sum(isinstance(one, events.ApprovalSettled) and one.call == call for one in settled)
