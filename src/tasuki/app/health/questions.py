"""Questions: asks brokers whether messages wait, on the event loop of the app, for a thread that does not wait."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from tasuki.app.health.rules import Answer
from tasuki.clock import Clock
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError
from tasuki.handlers.threads import tell
from tasuki.queues.policy import limits_of
from tasuki.queues.queue import Queue

_log = logging.getLogger("tasuki.app")

QUIET = 3.0
"""Seconds after an answer for which a queue is not asked again, unless something seems to be wrong with it.

With the time between two observations it is asked every 4 s.
"""


@dataclass(slots=True)
class Question:
    """One queue's; it stays open until the broker answers."""

    asked_since: float | None = None
    """When it was asked first; None: it is answered."""
    answer: Answer | None = None
    is_told: bool = False
    """An unexpected error was logged; once, until it is answered well."""
    task: asyncio.Task[None] | None = None


class Questions:
    """By queue; one for all its consumers here."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._questions: dict[Queue, Question] = {}

    def of(self, queue: Queue) -> Question:
        """The state of the question to a queue."""
        return self._questions.get(queue) or Question()

    def keep(self, queues: set[Queue]) -> None:
        """Forget all other queues."""
        self._questions = {queue: question for queue, question in self._questions.items() if queue in queues}

    def ask(self, queue: Queue, loop: asyncio.AbstractEventLoop, *, is_urgent: bool) -> None:
        """Ask now, unless a question is open, or it was answered a moment ago; from any thread."""
        now = self._clock.monotonic()
        question = self._questions.setdefault(queue, Question())
        if question.asked_since is not None:
            return
        if question.answer is not None and not is_urgent and now - question.answer.answered_at < QUIET:
            return
        question.asked_since = now
        if not tell(loop, lambda: self._begin(queue, question)):
            question.asked_since = None  # the loop is closed

    def _begin(self, queue: Queue, question: Question) -> None:
        question.task = asyncio.get_running_loop().create_task(self._ask(queue, question), name=f"health of {queue.id}")
        question.task.add_done_callback(partial(_close, question))

    async def _ask(self, queue: Queue, question: Question) -> None:
        """Until there is an answer; a timeout is none, and the driver has given up that request."""
        while self._questions.get(queue) is question:
            asked_at = self._clock.monotonic()
            try:
                ready = await _is_ready(queue)
            except BrokerTimeoutError:
                await asyncio.sleep(0.5)  # the driver may have given up at once
                continue
            except BrokerUnavailableError as error:
                self._answered(question, Answer(asked_at, self._clock.monotonic(), error=str(error), is_away=True))
            except DriverError as error:
                self._answered(question, Answer(asked_at, self._clock.monotonic(), error=str(error)))
            except Exception as error:  # a defect of the driver must not hide the other consumers
                if not question.is_told:
                    _log.exception("health: cannot count the messages of %s", queue.id)
                self._answered(question, Answer(asked_at, self._clock.monotonic(), error=repr(error)), is_told=True)
            else:
                self._answered(question, Answer(asked_at, self._clock.monotonic(), ready))
            return
        question.asked_since = None

    @staticmethod
    def _answered(question: Question, answer: Answer, *, is_told: bool = False) -> None:
        question.answer, question.is_told, question.asked_since = answer, is_told, None

    def close(self) -> None:
        """Forget all questions, and cancel the open ones; on the loop of the app."""
        questions, self._questions = self._questions, {}
        for question in questions.values():
            if question.task is not None:
                question.task.cancel()


def _close(question: Question, task: asyncio.Task[None]) -> None:
    """A client library may raise CancelledError for a lost connection: then the broker is asked again."""
    if question.task is task and (task.cancelled() or task.exception() is not None):
        question.asked_since = None


async def _is_ready(queue: Queue) -> bool:
    """Whether a message waits that a consumer could receive."""
    occupancy = await queue.driver.occupancy(queue.spec.name)
    # With an order per key, a message counted as ready may wait behind a held or delayed one.
    may_be_behind = queue.spec.ordering == "key" and occupancy.hidden
    must_wait = bool(limits_of(queue.spec, queue.policy))  # for a token, or for a place that another process has
    return occupancy.ready and not may_be_behind and not must_wait
