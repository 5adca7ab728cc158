"""Health: a thread that looks at an app every two seconds, and what it has found; never the event loop that it judges.

A reader notices a dead thread: a report without an observation for ten seconds says only that.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasuki.app.assembly import Assembly
from tasuki.app.health.blocked import LoopWatch, recorded
from tasuki.app.health.examiner import Examiner
from tasuki.app.health.health_file import PERIOD, write
from tasuki.app.health.report import Probe, Report, Sheet, respond, stale
from tasuki.app.health.rules import Finding
from tasuki.clock import SystemClock
from tasuki.kinds.entries.consumer import WorkerConfig
from tasuki.moments import iso, plain
from tasuki.observe.custom import OF_HANDLERS, CustomMetrics, Sample
from tasuki.observe.metrics import Histogram
from tasuki.observe.plain import cut
from tasuki.state.worker_record import WorkerHealth
from tasuki.system.replacing import touch
from tasuki.system.signals import StopSignals
from tasuki.system.threads import HelperThread

if TYPE_CHECKING:
    from tasuki.app.runtime import Runtime


MAX_SAMPLES = 1000
"""Most series of the handlers' own metrics, shared about equally among the functions; others are left out."""


def status_of(assembly: Assembly | None, metrics: CustomMetrics = OF_HANDLERS) -> dict[str, Any]:
    """Counters since the process started, by entry id.

    Returns:
        ``workers``: shared workers by id, ``concurrency``, ``running`` now, and ``queues``;
        ``consumers``: by id, ``running``, ``held`` and ``concurrency`` now, ``paused`` (null, or ``until``, ``actor``,
        ``at``, ``reason``), and all of ``ConsumerMetrics.as_dict``; ``queues``: by id,
        ``published``, ``rejected`` and ``unknown`` publishes of this process, and
        ``late_replies`` to its requests, the ``durability`` that its driver gives, and the ``demanded_durability``: if
        that is more, publishing is refused; ``metrics``: what handlers have counted, each ``{function, name, type,
        labels, value}``, a histogram with ``count`` and ``sum`` instead of ``value``; a name is of one type within one
        function only. All but ``metrics`` are empty without an assembly.
    """
    consumers = assembly.consumers.items() if assembly else ()
    queues = assembly.queues.items() if assembly else ()
    shared = assembly.project.of(WorkerConfig).items() if assembly else ()
    return {
        "workers": {
            id: {"concurrency": config.concurrency, "running": assembly.workers[id].running, "queues": config.queues}
            for id, config in shared
            if assembly
        },
        "consumers": {
            id: {
                "running": now.running,
                "held": now.held,
                "concurrency": now.concurrency,
                "paused": None if now.pause is None else plain(now.pause),
                **consumer.metrics.as_dict(),
            }
            for id, consumer, now in ((id, each, each.now) for id, each in consumers)
        },
        "queues": {
            id: {
                "published": queue.metrics.published,
                "rejected": queue.metrics.rejected,
                "unknown": queue.metrics.unknown,
                "late_replies": queue.metrics.late_replies,
                "durability": queue.durability,
                "demanded_durability": queue.demand.level,
            }
            for id, queue in queues
        },
        "metrics": [_sample(sample) for sample in islice(metrics.samples(), MAX_SAMPLES)],
    }


def _sample(sample: Sample) -> dict[str, Any]:
    value = sample.value
    number = {"count": value.count, "sum": value.sum} if isinstance(value, Histogram) else {"value": value}
    labels = dict(sample.labels)
    return {"function": sample.function, "name": sample.name, "type": sample.type, "labels": labels, **number}


_log = logging.getLogger("tasuki.app")


LOOK = 2.0
"""Seconds between two observations."""


_MOST_TEXT = 500
"""Characters of a check in the entry of the worker."""

_TRIES = 5
"""Attempts to read what the event loop changes meanwhile."""


class Health:
    """``app.health``: of one app; it lives from the first ``start`` or reading to the end of the process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._has_started = False
        self.examiner = Examiner(runtime, lambda: runtime.is_starting)
        self._sheet = Sheet()
        self._report: Report | None = None
        self._looked_at = 0.0
        """When ``_report`` was made, by the monotonic clock."""
        self.looks = 0
        """Observations so far."""
        self._reported: frozenset[str] = frozenset()
        self._looking = threading.Lock()
        self._helper: HelperThread | None = None
        self._ended = threading.Event()
        self.file: Path | None = None
        """Written at each change and every 5 s; see :meth:`write_into`."""
        self._live_at = self._written_at = 0.0
        self.stops = StopSignals()
        """The signals to stop, noted also while the loop is blocked."""
        self.limit: Callable[[], float] = lambda: inf
        """Seconds after which a process that does not heed them is ended."""

    def write_into(self, file: Path) -> None:
        """Write a health file from now on.

        It holds one JSON document: ``pid``, the report (``status``, ``live``, ``ready``, ``time``, ``checks``), and
        :func:`tasuki.app.health.health.status_of`; for each consumer also ``moved_at``: when a new delivery to it was
        last observed; null: none yet.

        Raises:
            OSError: the file cannot be written.
        """
        touch(file)  # fails at once
        self.file, self.examiner.asks = file, True
        self.look()  # replaces the document of an earlier process

    def begin(self) -> None:
        """The app starts in the running loop: look at it from a thread, unless its clock is not the machine's."""
        if self._helper is not None or not isinstance(self._runtime.clock, SystemClock):
            return
        runtime = self._runtime
        self.examiner.watch = LoopWatch(
            lambda: runtime.assembly.consumers.values() if runtime.assembly else (), stops=self.stops, limit=self.limit
        )
        self._ended = threading.Event()
        self._helper = HelperThread("tasuki health", self._watch)
        self._helper.start()

    def started(self) -> None:
        """The start is over: a blocked loop is reported from now on."""
        self._has_started = True

    def end(self) -> None:
        """The app is closed; on its loop."""
        self._has_started = False
        self._ended.set()
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.stop()
        self.examiner.watch = None
        self.examiner.questions.close()
        if self.file is not None:
            self.look()

    def _watch(self, helper: HelperThread) -> None:
        helper.works()
        ended, watch, clock = self._ended, self.examiner.watch, self._runtime.clock
        assert watch is not None
        looked_at = -LOOK
        while not ended.wait(watch.period):
            if self._has_started:
                watch.tick()
            if (now := clock.monotonic()) - looked_at >= LOOK:
                looked_at = now
                self.look()

    def report(self) -> Report:
        """Whether messages move in this process; from any thread, without waiting.

        From the first call on, brokers are asked every few seconds whether messages wait. ``docs/how-to/health.md`` has
        the table of all checks; ``as_dict`` of the report gives plain data.
        """
        self.examiner.asks = True
        return self._last() or self.look()

    def response(self, probe: Probe, *, verbose: bool = False) -> tuple[int, bytes]:
        """The HTTP status and the JSON body for ``livez`` or ``readyz``; the verbose body has all checks."""
        return respond(self.report(), probe, verbose=verbose)

    def _last(self) -> Report | None:
        """What the thread has found last; None: nothing yet, or there is no thread."""
        report = self._report
        if self._helper is None or report is None:
            return None
        age = self._runtime.clock.monotonic() - self._looked_at  # whatever the wall clock was set to since
        return stale(report, report.time + age)

    def sign(self) -> WorkerHealth | None:
        """For the entry of this worker, without a question to a broker; None: no thread has looked yet."""
        if (report := self._last()) is None:
            return None
        worst = report.worst
        return (
            WorkerHealth("ok") if worst is None else WorkerHealth(worst.status, worst.name, cut(worst.text, _MOST_TEXT))
        )

    def look(self) -> Report:
        """Observe now."""
        with self._looking:
            self.looks += 1
            before = self._report
            report = self._sheet.report(self._findings(), self._runtime.clock.time())
            self._tell(report)  # first: who reads that it is not live finds in the log why
            self._report, self._looked_at = report, self._runtime.clock.monotonic()
            is_new = before is None or before.status != report.status
            if is_new and self._runtime.assembly is not None:
                self._runtime.assembly.attendance.look()
            self._write(report, is_new=is_new)
        return report

    def _findings(self) -> list[tuple[str, Finding]]:
        for _ in range(_TRIES):
            with suppress(RuntimeError):  # the loop has changed the objects that were being read, as at a reload
                return list(self.examiner.findings())
        return list(self.examiner.findings())

    def _tell(self, report: Report) -> None:
        """Log when messages stop moving, with what happened before, and when they move again."""
        stuck = frozenset(check.name for check in report.checks if check.status == "not_live")
        if news := stuck - self._reported:
            assembly = self._runtime.assembly
            consumers = assembly.consumers.items() if assembly else ()
            events = [recorded(consumer) for id, consumer in consumers if f"consumer {id}" in news]
            _log.error("messages do not move: %s", "\n".join(["; ".join(report.of("not_live")), *events]))
        elif self._reported and report.is_ready:
            _log.warning("messages move again")
        if stuck or report.is_ready:  # else its broker is unavailable now
            self._reported = stuck

    def _write(self, report: Report, *, is_new: bool) -> None:
        if self.file is None:
            return
        self._live_at = report.time if report.is_live else self._live_at
        if not is_new and 0 <= report.time - self._written_at < PERIOD:
            return
        self._written_at = report.time
        try:
            write(self.file, self._document(report), self._live_at)
        except OSError as error:  # the file becomes stale, and an orchestrator may restart us
            _log.error("cannot write the health file: %s", error)

    def document(self) -> dict[str, Any]:
        """The last report with all counters, as the health file holds it; from any thread, without waiting."""
        return self._document(self.report())

    def _document(self, report: Report) -> dict[str, Any]:
        status = self._status()
        for id, consumer in status["consumers"].items():
            at = self.examiner.moved_at.get(id)
            consumer["moved_at"] = None if at is None else iso(at)
        return {"pid": os.getpid(), **report.as_dict(), **status}

    def _status(self) -> dict[str, Any]:
        for _ in range(_TRIES):
            with suppress(RuntimeError):  # a handler has counted something new meanwhile
                return status_of(self._runtime.assembly)
        return status_of(self._runtime.assembly)
