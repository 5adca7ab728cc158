"""Examiner: asks brokers whether messages wait, observes consumers, drivers and threads, and lets the rules judge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tasuki.app.health.blocked import LoopWatch
from tasuki.app.health.rules import (
    NONE_KEPT,
    OK,
    REFUSED,
    Answer,
    ConsumerFacts,
    ConsumerRule,
    Finding,
    Kept,
    ProcessFacts,
    findings_of,
    problem_of,
)
from tasuki.clock import Clock
from tasuki.consumers.consumer import Activity, Consumer
from tasuki.consumers.reports.snapshot import long_runs
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError
from tasuki.handlers.thread_pool import tell
from tasuki.kinds.entries.consumer import HealthConfig
from tasuki.queues.policy import limits_of
from tasuki.queues.queue import Queue, is_less
from tasuki.supervisor.spec import Status
from tasuki.system import threads
from tasuki.units import format_duration

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.runtime import Runtime


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


class Examiner:
    """From any thread, one at a time: it reads numbers that the event loop of the app changes meanwhile.

    Args:
        app: what it observes.
        is_starting: whether the app starts its consumers now.
    """

    def __init__(self, runtime: Runtime, is_starting: Callable[[], bool]) -> None:
        self._runtime = runtime
        self._is_starting = is_starting
        self._rules: dict[str, ConsumerRule] = {}
        self.questions = Questions(runtime.clock)
        self.asks = False
        """Ask the brokers whether messages wait: only for a worker whose health someone reads."""
        self.watch: LoopWatch | None = None
        self.moved_at: dict[str, float] = {}
        """Unix time at which a new delivery to a consumer was last observed, by its id."""
        self._delivered: dict[str, int] = {}

    def findings(self) -> Iterator[tuple[str, Finding]]:
        """Observe once; by the name of the check."""
        runtime, assembly = self._runtime, self._runtime.assembly
        if assembly is None:
            yield from findings_of(ProcessFacts("closed"))
            return
        states = runtime.supervisor.states()
        process = self._process(assembly, states)
        yield from findings_of(process)
        yield from self._refused(assembly)
        consumers = dict(assembly.consumers)
        after = next((config.broker_red_after for config in assembly.project.of(HealthConfig).values()), None)
        self._rules = {id: self._rules.get(id) or ConsumerRule() for id in consumers}
        for rule in self._rules.values():
            rule.broker_red_after = after
        self.questions.keep({consumer.queue for consumer in consumers.values()})
        for id, consumer in consumers.items():
            yield f"consumer {id}", self._judge(id, consumer, states.get(id), is_blocked=process.blocked_for > 0)

    def _process(self, assembly: Assembly, states: dict[str, Status]) -> ProcessFacts:
        runtime, watch = self._runtime, self.watch
        phase = "stopping" if runtime.supervisor.is_stopping else "starting" if self._is_starting() else "running"
        drivers = {id: states[id] for id in assembly.drivers if id in states}
        return ProcessFacts(
            phase=phase,  # type: ignore[arg-type]
            running=sum(consumer.now.running for consumer in assembly.consumers.values()),
            blocked_for=0.0 if watch is None else watch.blocked_for,
            blocked_by="" if watch is None else watch.blocked_by,
            keeper_silent_for=runtime.keeper.silent_for(),
            services=drivers,
            refusals={id: why for id in drivers if (why := assembly.drivers[id].refusal) is not None},
            threads=threads.problems(),
        )

    def _refused(self, assembly: Assembly) -> Iterator[tuple[str, Finding]]:
        """The queues to which publishing is refused."""
        now = self._runtime.clock.monotonic()
        for id, queue in assembly.queues.items():
            if refusal := queue.metrics.refusal_of(now, REFUSED):
                yield f"queue {id}", Finding("not_ready", f"publishing is refused: {refusal}")
                continue
            demanded, given = queue.demand.level, queue.durability
            if demanded and is_less(given, demanded):
                text = f"publishing is refused: it demands durability {demanded!r}, and the broker gives {given!r}"
                yield f"queue {id}", Finding("warning", text)

    def _judge(self, id: str, consumer: Consumer, status: Status | None, *, is_blocked: bool) -> Finding:
        rule, now = self._rules[id], self._runtime.clock.monotonic()
        if moved := (delivered := consumer.metrics.delivered) > self._delivered.get(id, 0):
            self.moved_at[id] = self._runtime.clock.time()
        self._delivered[id] = delivered
        if is_blocked:
            rule.forget(now)
            return OK
        present = consumer.now
        facts = self._facts(consumer, present, problem_of(status))
        if self.asks and not moved and present.is_consuming and (loop := self._runtime.loop) is not None:
            self.questions.ask(consumer.queue, loop, is_urgent=_is_odd(facts))
        return rule.judge(now, facts)

    def _kept(self, present: Activity) -> Kept:
        if not present.troubles:
            return NONE_KEPT
        first = min(present.troubles, key=lambda each: each.since)
        seconds = self._runtime.clock.monotonic() - first.since
        return Kept(len(present.troubles), seconds, f"cannot be {first.what}: {first.error}", present.is_filled_by_kept)

    def _facts(self, consumer: Consumer, present: Activity, problem: str) -> ConsumerFacts:
        """``problem``: of its service; empty: it has none."""
        delivered = consumer.metrics.delivered
        question = self.questions.of(consumer.queue)
        return ConsumerFacts(
            delivered=delivered,
            settled=delivered - present.held,
            unsettled=present.unsettled,
            free=present.free,
            problem=problem or present.problem,
            is_unanswered=not problem and present.is_unanswered,
            paused="" if present.pause is None else str(present.pause),
            answer=question.answer,
            asked_since=question.asked_since,
            late_leases=present.late_leases,
            kept=self._kept(present),
            unreadable=present.unreadable,
            long_run=_long_run(consumer, present),
        )


def _long_run(consumer: Consumer, present: Activity) -> str:
    if not (found := long_runs(present.workers, consumer.metrics.handler_seconds, consumer.clock.monotonic())):
        return ""
    delivery, run = max(found.items(), key=lambda pair: pair[1].seconds)
    return (
        f"handler {delivery.function} has run for {format_duration(round(run.seconds))} (message "
        f"{delivery.received.id}), expected at most {format_duration(round(run.bound))}; it has no handler_timeout"
    )


def _is_odd(facts: ConsumerFacts) -> bool:
    """Whether the next answer may change the finding."""
    return facts.answer is not None and (facts.answer.ready or bool(facts.answer.error))
