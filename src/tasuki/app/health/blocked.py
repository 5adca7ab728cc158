"""Blocked: notices within a second that a handler blocks the event loop, and reports which one."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from math import inf
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tasuki.consumers.consumer import Consumer
from tasuki.consumers.delivery import Delivery
from tasuki.handlers import threads
from tasuki.handlers.thread_pool import tell
from tasuki.observe.events import NEWEST, as_dicts, as_lines
from tasuki.observe.metrics import PROCESS
from tasuki.system.signals import StopSignals, leave
from tasuki.units import format_duration

if TYPE_CHECKING:
    from tasuki.app.runtime import Runtime


def recorded(consumer: Consumer | None, newest: int = NEWEST) -> str:
    """The newest events, under a heading; empty if there are none."""
    events = [] if consumer is None else consumer.recent()[-newest:]
    if consumer is None or not events:
        return ""
    lines = as_lines(events, consumer.clock.monotonic())
    return "\n".join([f"the newest events of {consumer.id}:", *lines, ""])


def events_of(runtime: Runtime, newest: int = NEWEST) -> dict[str, list[dict[str, Any]]]:
    """The newest events of each consumer of this process, by its id; from any thread."""
    assembly = runtime.assembly
    consumers = assembly.consumers.items() if assembly else ()
    return {id: as_dicts(consumer.recent()[-newest:], consumer.clock) for id, consumer in consumers}


_log = logging.getLogger("tasuki.app")


PERIOD = 0.2
"""Seconds between two calls that the loop must answer."""


PATIENCE = 4
"""Periods without an answer after which the loop is blocked. Periods, as a suspended process counts none."""


_LATE = 5
"""Exit code of a process that did not stop in time."""


_OURS = (str(Path(__file__).parents[2]), str(Path(asyncio.__file__).parent))


class LoopWatch:
    """Watches the running loop for the consumers that work on it; another thread calls ``tick`` once a period.

    ``stops`` notes the stop signals also while the loop is blocked and handles none. A process that cannot stop for
    ``limit`` seconds is ended by ``leave``, which gets the exit code.
    """

    def __init__(
        self,
        consumers: Callable[[], Iterable[Consumer]],
        period: float = PERIOD,
        *,
        stops: StopSignals | None = None,
        limit: Callable[[], float] = lambda: inf,
        leave: Callable[[int], object] = leave,
    ) -> None:
        self._consumers = consumers
        self.period = period
        self.stops = stops or StopSignals()
        self.limit = limit
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._missed = 0
        """Periods since the first call that the loop has not answered; 0: it answered the last one."""
        self._asked_at = 0.0
        self._blocked_at: float | None = None
        self._overdue: set[Delivery] = set()
        """The deliveries that were reported as overdue while the loop is blocked."""

    @property
    def blocked_for(self) -> float:
        """Seconds for which the loop has been blocked; 0: it is not. For any thread."""
        blocked_at = self._blocked_at
        return 0.0 if blocked_at is None else time.monotonic() - blocked_at

    @property
    def blocked_by(self) -> str:
        """The handler and message that block the loop now; empty: it is not known."""
        delivery = self._delivery()
        return "" if delivery is None else f" by the handler {delivery.function} (message {delivery.received.id})"

    def tick(self) -> None:
        """A period has passed; in the thread that watches."""
        if not self._missed:
            self._missed, self._asked_at = 1, time.monotonic()
            tell(self._loop, self._answer)
            return
        self._missed += 1
        if self._missed == PATIENCE:
            self._blocked_at = time.monotonic() - PATIENCE * self.period
            self._report()
        if self._missed >= PATIENCE:
            self._interrupt_overdue()
            self._end_if_unheeded()

    def _interrupt_overdue(self) -> None:
        """Interrupt overdue handlers in threads and report the others; the consumers' own timers cannot run now."""
        for consumer in self._consumers():
            for worker in () if (run := consumer.run) is None else run.overdue():
                delivery = worker.delivery
                if delivery is None or delivery in self._overdue:
                    continue
                if threads.interrupt(worker.task):
                    said = "interrupted; its message is kept until it ends"
                elif worker.task is asyncio.current_task(self._loop):
                    said = "it blocks the event loop, and cannot be interrupted"
                else:
                    continue  # it waits on the loop, which cancels it later
                self._overdue.add(delivery)
                limit = format_duration(worker.limit or 0.0)
                _log.warning("handler %s has run for handler_timeout (%s): %s", delivery.function, limit, said,
                             extra=delivery.log_fields())  # fmt: skip

    def _end_if_unheeded(self) -> None:
        """End a process whose loop never handles the stop; the broker requeues its messages as after a crash."""
        blocked_at, stops = self._blocked_at, self.stops
        if blocked_at is None or not stops.are_unheeded(blocked_at, time.monotonic(), self.limit()):
            return
        _log.critical("the event loop is blocked, so this process cannot drain: it exits now, and the broker "
                      "redelivers its messages as after a crash")  # fmt: skip
        self._leave(128 + stops.second if stops.second is not None else _LATE)

    def _answer(self) -> None:
        """On the loop."""
        self._missed = 0
        PROCESS.loop_lag = time.monotonic() - self._asked_at
        self._overdue.clear()
        if self._blocked_at is not None:
            seconds, self._blocked_at = time.monotonic() - self._blocked_at, None
            PROCESS.loop_blocked += seconds
            _log.warning("the event loop runs again; it was blocked for %.1f s", seconds)

    def _report(self) -> None:
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - documented, for tools such as this
        delivery = self._delivery()
        _log.error(
            "the event loop is blocked%s; no other handler can run on it. Await slow operations, or make the handler a "
            "plain def, which runs in a thread:\n%s%s",
            self.blocked_by,
            "".join(traceback.format_list(_stack(frame))) if frame is not None else "",
            "" if delivery is None else recorded(self._consumer_of(delivery)),
            extra=None if delivery is None else delivery.log_fields(),
        )

    def _delivery(self) -> Delivery | None:
        """The delivery whose handler the loop runs now."""
        current = asyncio.current_task(self._loop)
        workers = (worker for consumer in self._consumers() for worker in consumer.now.workers)
        return next((worker.delivery for worker in workers if worker.task is current), None)

    def _consumer_of(self, delivery: Delivery) -> Consumer | None:
        return next((consumer for consumer in self._consumers() if consumer.id == delivery.consumer), None)


def _stack(frame: FrameType) -> list[traceback.FrameSummary]:
    """Where a thread stands, outermost first: from the last of our frames on, if others follow."""
    frames = list(traceback.extract_stack(frame))
    ours = [number for number, each in enumerate(frames) if each.filename.startswith(_OURS)]
    return frames[ours[-1] + 1 :] or frames if ours else frames
