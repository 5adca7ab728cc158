"""DrySession: one consumer of an app handles one message, and nothing that it does leaves the process by our hands."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from time import perf_counter
from traceback import FrameSummary, StackSummary, walk_stack
from typing import Any

from tasuki.app import App
from tasuki.app.flow.requests import Requests
from tasuki.consumers.consumer import Consumer
from tasuki.consumers.fetching.keeper import Keeper
from tasuki.consumers.handling.stack import stack_of
from tasuki.contracts.context import Facts
from tasuki.contracts.driver import Driver, Outgoing
from tasuki.contracts.observer import Observer
from tasuki.contracts.state.jobs import CancelOutcome
from tasuki.errors import DriverError, HandlerError
from tasuki.message import DEAD_LETTER_REASON, HeaderValue
from tasuki.observe.custom import OF_HANDLERS
from tasuki.observe.tracebacks import is_ours, kept_traceback
from tasuki.queues.queue import Queue
from tasuki.security.guard import Guard
from tasuki.testing.clock import FakeClock
from tasuki.testing.dry_run.driver import DryDriver
from tasuki.testing.dry_run.real import RealStores
from tasuki.testing.dry_run.recorder import Recorder
from tasuki.testing.twin.assembly import TwinAssembly
from tasuki.testing.twin.session import Session
from tasuki.units import Duration

_TRACEBACK = 8_000
"""Most characters of a traceback."""
_MOST_METRICS = 100
_PYTHON = os.path.dirname(os.__file__) + os.sep
_BEFORE = 0.5
"""Seconds before the limit at which the stack is reported."""


class DryAssembly(TwinAssembly):
    """Its drivers are dry, and its verbs on other messages are recorded."""

    def __init__(self, real: RealStores, recorder: Recorder, faults: Any, run: Any, **parts: Any) -> None:
        self._real, self._recorder = real, recorder
        super().__init__(faults, run, **parts)

    def _driver(self, id: str) -> Driver:
        driver = DryDriver(id, self._faults, self._real, self._recorder)
        self._faults.drivers.append(driver)
        return driver

    async def cancel_from(self, guard: Guard | None, queue: str, id: str) -> CancelOutcome:
        """See Host; it finds no message."""
        if guard is not None:
            guard.require("queue.cancel.queue", queue, f"not allowed to cancel messages of queue: {queue}")
        self._recorder.add("cancel", queue=queue, id=id)
        return "not found"

    async def signal_from(self, guard: Guard | None, actor: str, event: str, key: str | int, value: Any) -> bool:
        """See Host."""
        self._recorder.add("signal", event=event, key=key, value=value)
        return await super().signal_from(guard, actor, event, key, value)


class DryRequests(Requests):
    """A request is recorded, and has no answer: the handler that would give it does not run."""

    def __init__(self, clock: FakeClock, recorder: Recorder) -> None:
        super().__init__(clock)
        self._recorder = recorder

    async def ask(
        self,
        queue: Queue,
        body: Any,
        headers: Mapping[str, HeaderValue] | None,
        *,
        returns: Any = None,
        reply_to: Queue | None,
        timeout: Duration,
        options: Mapping[str, Any],
    ) -> Any:
        """See Requests. Raises HandlerError."""
        if queue.guard is not None:
            queue.guard.publish(queue.id)
        self._recorder.add("request", queue=queue.id, body=body, headers=dict(headers or {}))
        problem = f"a dry run sends nothing, so its request to {queue.id} has no answer: the run ends here"
        raise HandlerError(problem, kind="Unavailable", retryable=False)


class _Witness(Observer):
    """Records what the handler publishes, and how it ends."""

    def __init__(self, recorder: Recorder, queues: Mapping[str, Queue]) -> None:
        self._recorder = recorder
        self._queues = queues
        self._began = 0.0

    def on_publish(self, queue: str, messages: Sequence[Outgoing], errors: Sequence[DriverError | None]) -> None:
        """See Observer."""
        for message in messages:
            if DEAD_LETTER_REASON not in message.headers:
                body = _readable(self._queues[queue], message) if queue in self._queues else message.body
                self._recorder.add("publish", queue=queue, id=message.id, body=body, headers=dict(message.headers),
                                   delay=message.delay)  # fmt: skip

    def on_start(self, facts: Facts) -> None:
        """See Observer."""
        self._began = perf_counter()
        self._recorder.tell("start", function=facts.function, consumer=facts.consumer, attempt=facts.attempt)

    def on_end(self, facts: Facts, seconds: float, error: BaseException | None) -> None:
        """See Observer."""
        told: dict[str, Any] = {"seconds": perf_counter() - self._began}  # the clock of the twin stands still
        if error is not None:
            told |= {"error": f"{type(error).__name__}: {error}", "traceback": kept_traceback(error, _TRACEBACK)}
        self._recorder.tell("end", **told)


def _theirs(stack: Sequence[FrameSummary]) -> list[FrameSummary]:
    """The frames of code that is neither ours nor Python's own."""
    return [each for each in stack if not (is_ours(each.filename) or each.filename.startswith((_PYTHON, "<frozen")))]


def _readable(queue: Queue, message: Outgoing) -> Any:
    try:
        return queue.decode(message)
    except Exception:  # bytes of the user's own
        return message.body


class DrySession(Session):
    """See the module; for one message."""

    name = "a dry run"

    def __init__(self, app: App, clock: FakeClock, recorder: Recorder, real: RealStores) -> None:
        super().__init__(app, clock, 86_400.0)  # its caller has its own limit
        self._recorder = recorder
        self._real = real

    async def enter(self) -> None:
        """Build the app's objects on dry drivers. Raises ProjectError."""
        self._check_free()
        app, clock, recorder = self.app, self.faults.clock, self._recorder
        recorder.is_on = False
        project = app.check()
        queues: dict[str, Queue] = {}
        observers = [*app.observers, self.journal, _Witness(recorder, queues)]
        assembly = DryAssembly(
            self._real, recorder, self.faults, self.run,
            project=project, clock=clock, keeper=Keeper(clock), observers=observers,
            around=app._runtime.around, prepare_child=app._runtime.prepare_child,
        )  # fmt: skip
        queues.update(assembly.queues)
        self._take(assembly, project, DryRequests(clock, recorder))
        await assembly.open()
        await self._begin(assembly)

    async def handle_one(self, consumer: str, message: Outgoing, limit: float) -> None:
        """Let a consumer handle the message. Raises HandlerError: its function cannot be loaded."""
        one = self.work.assembly.consumers[consumer]
        driver, name = one.queue.driver, one.queue.spec.name
        assert isinstance(driver, DryDriver)
        self.work.selected = [one]
        await driver.deliver(name, message)
        self._recorder.tell("loaded")
        watch = threading.Timer(limit - _BEFORE, self._tell_stack, [one])
        watch.daemon = True
        watch.start()
        self._recorder.is_on = True
        await self.work.drain()
        watch.cancel()
        self._recorder.is_on = False
        self._tell_metrics()

    def _tell_stack(self, consumer: Consumer) -> None:
        """Tell what the handler is doing, shortly before its process is ended; in a thread."""
        frames, main = sys._current_frames(), threading.main_thread().ident  # noqa: SLF001 - the only way to them
        stacks = [
            stack_of(worker.task, None if main is None else frames.get(main))
            for worker in consumer.now.workers
            if worker.task is not None and worker.delivery is not None
        ]
        stacks += [list(StackSummary.extract(walk_stack(frame)))[::-1] for id, frame in frames.items() if id != main]
        texts = ["".join(StackSummary.from_list(kept).format()) for stack in stacks if (kept := _theirs(stack))]
        self._recorder.tell("stack", text="\n".join(texts))

    def _tell_metrics(self) -> None:
        for _, sample in zip(range(_MOST_METRICS), OF_HANDLERS.samples(), strict=False):
            value = sample.value if isinstance(sample.value, int | float) else str(sample.value)
            self._recorder.tell("metric", name=sample.name, type=sample.type, labels=dict(sample.labels), value=value)

    async def close(self) -> None:
        """Leave the app."""
        await self.leave()
        await self._real.close()


async def run(
    app: App, consumer: str, message: Outgoing, now: float, limit: float, recorder: Recorder, answers: int
) -> None:
    """One dry run; ``answers``: see RealStores."""
    session = DrySession(app, FakeClock(now), recorder, RealStores(answers, recorder))
    try:
        await session.enter()
        await session.handle_one(consumer, message, limit)
        async with asyncio.timeout(2.0):
            await session.close()
    except TimeoutError:
        recorder.tell("warning", text="the app's own end (on_stop, providers) took longer than 2 s")
