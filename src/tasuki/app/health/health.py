"""Health: observes consumers and brokers repeatedly, and writes the result into a file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tasuki.app.health.health_file import PERIOD, head, write
from tasuki.app.health.judge import Judge, Observation, problem_of
from tasuki.app.health.status import status_of
from tasuki.consumers.consumer import Consumer
from tasuki.contracts.driver import Occupancy
from tasuki.errors import BrokerTimeoutError, DriverError
from tasuki.queues.demand import is_less
from tasuki.queues.limits import limits_of
from tasuki.system import helper_threads
from tasuki.system.replacing import touch

if TYPE_CHECKING:
    from tasuki.app.app import App

_log = logging.getLogger("tasuki.app")


@dataclass(slots=True)
class Question:
    """One consumer's question to its broker, whether messages wait; it stays open until the broker answers."""

    asked_at: float
    answer: asyncio.Task[Occupancy]


@dataclass(slots=True)
class Pulse:
    """Writes a health file repeatedly.

    It holds one JSON document: ``pid``, ``time`` (Unix seconds), ``live``, ``ready``, ``why`` not (``live`` and
    ``ready``: lists of reasons), ``warnings``, ``paused`` (each a text that names the consumer and says why), and
    :func:`tasuki.app.health.status.status_of`; for each consumer also ``moved_at``: when a new delivery to it was last
    observed; null: none yet.
    """

    file: Path
    app: App
    period: float = PERIOD
    _live_at: float = 0.0
    _reported: tuple[str, ...] = ()
    _moved_at: dict[str, float] = field(default_factory=dict)
    _judges: dict[str, Judge] = field(default_factory=dict)
    _questions: dict[str, Question] = field(default_factory=dict)
    _blind: set[str] = field(default_factory=set)
    """Consumers whose queue could not be inspected for an unexpected reason; logged once, with its traceback."""

    async def run(self) -> None:
        """Until cancelled. Raises OSError when the file cannot be written at the start."""
        touch(self.file)  # fails at once if the file cannot be written
        self._write([], ["it is starting"])  # replaces an earlier process's document
        try:
            while True:
                await asyncio.sleep(self.period)
                live, ready = await self.observe()
                self._report(live)
                self._write(live, ready)
        finally:
            for question in self._questions.values():
                question.answer.cancel()

    async def observe(self) -> tuple[list[str], list[str]]:
        """Observe all consumers once: why the process is not live, and why it is not ready."""
        if (assembly := self.app.assembly) is None:
            return [], ["it is not open"]
        consumers: Mapping[str, Consumer] = assembly.consumers
        self._judges = {id: self._judges.get(id, Judge()) for id in consumers}
        self._blind &= consumers.keys()
        for gone in self._questions.keys() - consumers.keys():
            self._questions.pop(gone).answer.cancel()
        # All at once: one after the other, many queues of a silent broker would let the file become stale.
        observed = await asyncio.gather(*map(self._observe, consumers.values()))
        live, ready = [], [f"driver {id}: {why}" for id in assembly.drivers if (why := self._problem(id))]
        ready += [f"thread {name}: {why}" for name, why in helper_threads.problems().items()]
        for id, observation in zip(consumers, observed, strict=True):
            if observation.delivered > max(self._judges[id].delivered, 0):
                self._moved_at[id] = self.app.clock.time()
            not_live, not_ready = self._judges[id].judge(observation)
            live += [f"{id}: {not_live}"] if not_live else []
            ready += [f"{id}: {not_ready}"] if not_ready else []
        return live, ready

    def _problem(self, id: str) -> str:
        return problem_of(self.app.supervisor.states().get(id))

    async def _observe(self, consumer: Consumer) -> Observation:
        held, delivered, has_free_worker = consumer.held, consumer.metrics.delivered, consumer.has_free_worker
        problem = self._problem(consumer.id) or consumer.problem
        if not consumer.is_consuming:
            return Observation(delivered, problem=problem)
        ready, silence, unanswered = await self._ready(consumer)
        return Observation(
            delivered=delivered,
            settled=delivered - held,
            unsettled=consumer.unsettled,
            is_free=has_free_worker and held < consumer.window and consumer.pause is None,
            ready=ready,
            silence=silence,
            problem=problem or unanswered,
        )

    async def _ready(self, consumer: Consumer) -> tuple[bool | None, float, str]:
        """Whether messages are ready; how long the broker has been silent; why the queue cannot be inspected."""
        now = asyncio.get_running_loop().time
        question = self._questions.get(consumer.id)
        if question is None:
            question = self._questions[consumer.id] = Question(now(), _ask(consumer))
        elif _had_no_answer(question):  # else the answer may have arrived since the last observation
            question.answer = _ask(consumer)
        await asyncio.wait([question.answer], timeout=self.period)
        silence = now() - question.asked_at
        if not question.answer.done():
            return None, silence, f"the broker has not answered for {silence:.0f} s"
        try:
            occupancy = question.answer.result()
        except BrokerTimeoutError as error:
            return None, silence, str(error)
        except DriverError as error:
            del self._questions[consumer.id]
            return None, 0.0, str(error)
        except Exception as error:  # a defect of the driver must not hide the other consumers
            del self._questions[consumer.id]
            if consumer.id not in self._blind:
                self._blind.add(consumer.id)
                _log.exception("health: cannot inspect the queue of %s", consumer.id)
            return None, 0.0, f"its queue cannot be inspected: {error!r}"
        del self._questions[consumer.id]
        self._blind.discard(consumer.id)
        # With an order per key, a message counted as ready may wait behind a held or delayed one.
        may_be_behind = consumer.queue.spec.ordering == "key" and occupancy.hidden
        must_wait = bool(
            limits_of(consumer.queue.spec, consumer.queue.policy)
        )  # for a token, or for a place that another process has
        return occupancy.ready and not may_be_behind and not must_wait, 0.0, ""

    def _report(self, live: list[str]) -> None:
        """Log when messages stop moving, and when they move again."""
        ids = tuple(reason.partition(": ")[0] for reason in live)
        if live and ids != self._reported:
            _log.error("messages do not move: %s", "; ".join(live))
        elif self._reported and not live:
            _log.warning("messages move again")
        self._reported = ids

    def _write(self, live: list[str], ready: list[str]) -> None:
        now = self.app.clock.time()
        self._live_at = self._live_at if live else now
        assembly = self.app.assembly
        status = status_of(assembly)
        for id, consumer in status["consumers"].items():
            consumer["moved_at"] = self._moved_at.get(id)
        warnings = [
            f"publishing to queue {id} is refused: it demands durability {demanded!r}, and the broker gives {given!r}"
            for id, queue in status["queues"].items()
            if (demanded := queue["demanded_durability"]) and is_less(given := queue["durability"], demanded)
        ]
        consumers = assembly.consumers.items() if assembly else ()
        paused = [f"{id} is paused {consumer.pause}" for id, consumer in consumers if consumer.pause is not None]
        document = {**head(live, ready, now), "warnings": warnings, "paused": paused, **status}
        try:
            write(self.file, document, self._live_at)
        except OSError as error:  # the file becomes stale, and an orchestrator may restart us
            _log.error("cannot write the health file: %s", error)


def _ask(consumer: Consumer) -> asyncio.Task[Occupancy]:
    asking = asyncio.ensure_future(consumer.queue.driver.occupancy(consumer.queue.spec.name))
    asking.add_done_callback(lambda answer: answer.cancelled() or answer.exception())  # read, or asyncio logs it
    return asking


def _had_no_answer(question: Question) -> bool:
    answer = question.answer
    return answer.done() and not answer.cancelled() and isinstance(answer.exception(), BrokerTimeoutError)
