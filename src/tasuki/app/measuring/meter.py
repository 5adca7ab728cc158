"""Meter: the metrics of this process as snapshots, read from any thread, and as OpenTelemetry instruments."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tasuki import __version__
from tasuki.app.measuring.depths import DepthReader, Reading
from tasuki.app.measuring.process import process_part
from tasuki.consumers.consumer import Consumer
from tasuki.consumers.reports.snapshot import long_runs
from tasuki.errors import UnsupportedError
from tasuki.kinds.entries.telemetry import MetricsConfig
from tasuki.observe.custom import OF_HANDLERS
from tasuki.observe.exposition.series import families
from tasuki.observe.exposition.snapshots import Snapshot
from tasuki.observe.exposition.text import respond
from tasuki.observe.metrics import BUCKETS, Histogram
from tasuki.queues.dead_letter import OF_LETTERS
from tasuki.queues.queue import Queue
from tasuki.state.pauses import pause_in
from tasuki.supervisor.spec import State, Status

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.runtime import Runtime
    from tasuki.observe.exposition.telemetry import Telemetry


MAX_PAIRS = 10_000
"""Queues, and pairs of queue and consumer, that are exported; further ones are counted as dropped."""


_BORN = uuid4().hex

_NO_LETTERS = dict.fromkeys(OF_LETTERS, 0)
"""A series that begins with its first letters would show no increase."""

_QUEUE_FIELDS = ("published", "rejected", "unknown", "suppressed")


def snapshot_of(
    assembly: Assembly | None, states: Mapping[str, Status], depths: Mapping[str, Reading], now: float
) -> Snapshot:
    """See :mod:`tasuki.observe.exposition.snapshots`; ``states`` by service, ``depths`` by queue as last read."""
    handlers, dropped = families(OF_HANDLERS.samples())
    consumers = list(assembly.consumers.values()) if assembly else []
    queues = list(assembly.queues.values()) if assembly else []
    dropped += OF_HANDLERS.dropped + max(len(consumers) - MAX_PAIRS, 0) + max(len(queues) - MAX_PAIRS, 0)
    shown = {consumer.id: _consumer(consumer) for consumer in consumers[:MAX_PAIRS]}
    by_queue = {queue.id: _queue(queue, assembly, depths.get(queue.id)) for queue in queues[:MAX_PAIRS]}
    for queue in queues:
        if (dead := queue.policy.dead_letter) is not None and dead in by_queue:
            by_queue[dead]["is_dead_letter"] = 1
    for consumer in shown.values():
        _add_to_queue(by_queue.get(consumer["queue"], {}), consumer)
    present = {consumer.metrics for consumer in consumers}
    for queue in queues[:MAX_PAIRS]:
        for former in list(queue.metrics.former.values()):
            if former not in present:
                counted = {"expired": former.expired, "limit_waits": former.limit_waits, "dead": dict(former.dead)}
                _add_to_queue(by_queue[queue.id], counted)
    return {
        "version": __version__,
        "python": platform.python_version(),
        "born": _BORN,
        "at": now,
        "bounds": list(BUCKETS),
        "queues": by_queue,
        "consumers": shown,
        "drivers": _drivers(assembly, states, consumers),
        "schedules": _schedules(assembly),
        "process": {**process_part(), "series_dropped": dropped},
        "handlers": handlers,
    }


def _queue(queue: Queue, assembly: Assembly | None, reading: Reading | None) -> dict[str, Any]:
    metrics = queue.metrics
    found: dict[str, Any] = {name: getattr(metrics, name) for name in _QUEUE_FIELDS}
    found |= {"driver": queue.driver.name, "publish_seconds": histogram(metrics.publish_seconds)}
    state = assembly.state_of(queue.id) if assembly else None
    if state is not None and state.is_following:
        found["paused"] = int(pause_in(state.controls, "queue", queue.spec.name) is not None)
    if reading is not None:
        depth = reading.depth
        counts = {"ready": depth.ready, "in_flight": depth.in_flight, "delayed": depth.delayed}
        found |= {name: count for name, count in counts.items() if count is not None}
        found["oldest_age"] = depth.oldest_age or 0.0
        if reading.consumers is not None:
            found["consumers"] = reading.consumers
    return found


def _consumer(consumer: Consumer) -> dict[str, Any]:
    metrics, now = consumer.metrics, consumer.now
    found: dict[str, Any] = metrics.counters()
    return found | {
        "queue": consumer.queue.id,
        "driver": consumer.queue.driver.name,
        "errors": dict(metrics.errors),
        "dead": {**(_NO_LETTERS if consumer.queue.policy.dead_letter is not None else {}), **metrics.dead},
        "handler_seconds": histogram(metrics.handler_seconds),
        "wait_seconds": histogram(metrics.wait_seconds),
        "running": now.running,
        "running_long": len(long_runs(now.workers, metrics.handler_seconds, consumer.clock.monotonic())),
        "buffered": now.buffered,
        "concurrency": 0 if now.pause is not None else now.concurrency,
    }


def _add_to_queue(queue: dict[str, Any], consumer: Mapping[str, Any]) -> None:
    """Add the numbers that belong to the queue, whichever consumer had the message."""
    for name in ("expired", "limit_waits"):
        queue[name] = queue.get(name, 0) + consumer[name]
    dead = queue.setdefault("dead", {})
    for reason, count in consumer["dead"].items():
        dead[reason] = dead.get(reason, 0) + count


def histogram(counted: Histogram) -> dict[str, Any]:
    """One histogram of a snapshot."""
    found: dict[str, Any] = {"counts": list(counted.counts), "sum": counted.sum}
    if counted.exemplars:
        found["exemplars"] = {str(bucket): list(one) for bucket, one in counted.exemplars.copy().items()}
    return found


def _drivers(
    assembly: Assembly | None, states: Mapping[str, Status], consumers: list[Consumer]
) -> dict[str, dict[str, Any]]:
    if assembly is None:
        return {}
    return {id: {"system": system_of(assembly, id), **_driver(id, states, consumers)} for id in assembly.drivers}


def _driver(id: str, states: Mapping[str, Status], consumers: list[Consumer]) -> dict[str, Any]:
    """A driver is up where its service runs, and no consumer here waits for its broker."""
    own = [consumer for consumer in consumers if consumer.queue.driver.name == id]
    status = states.get(id)
    is_up = status is not None and status.state is State.RUNNING and not any(one.now.cannot_receive for one in own)
    return {"up": int(is_up), "reconnects": max((one.metrics.reconnects for one in own), default=0)}


def _schedules(assembly: Assembly | None) -> dict[str, Any]:
    found: dict[str, dict[str, float]] = {}
    for scheduler in assembly.schedulers.values() if assembly else ():
        for id, metrics in scheduler.metrics.items():
            found[id] = {"published": metrics.published, "skipped": metrics.skipped, "late": metrics.late}
            if metrics.last_success is not None:
                found[id]["last_success"] = metrics.last_success
    return found


def make_telemetry(runtime: Runtime, assembly: Assembly) -> Telemetry | None:
    """The instruments that the project asks for; None: it asks for none.

    Raises:
        UnsupportedError: OpenTelemetry is not installed; the message says what to install.
    """
    for id, config in assembly.project.of(MetricsConfig).items():
        if config.opentelemetry:
            try:
                from tasuki.observe.exposition.telemetry import Telemetry
            except ImportError as error:
                raise UnsupportedError(
                    f"{id!r} asks for OpenTelemetry: {error}; pip install 'tasuki[metrics]'"
                ) from error
            target = assembly.project.registry.entries[id].target
            return Telemetry(runtime.metrics.snapshot, target, __version__)
    return None


def bind(telemetry: Telemetry, assembly: Assembly) -> None:
    """Give the times of these queues and consumers to it from now on."""
    for queue in assembly.queues.values():
        labels = {"queue": queue.id, "driver": queue.driver.name}
        telemetry.bind(
            "tasuki_publish_duration_seconds",
            queue.metrics.publish_seconds,
            system_of(assembly, queue.driver.name),
            labels,
        )
    for consumer in assembly.consumers.values():
        driver = consumer.queue.driver.name
        labels = {"queue": consumer.queue.id, "consumer": consumer.id, "driver": driver}
        system, metrics = system_of(assembly, driver), consumer.metrics
        telemetry.bind("tasuki_handler_duration_seconds", metrics.handler_seconds, system, labels)
        telemetry.bind("tasuki_message_wait_seconds", metrics.wait_seconds, system, labels)


def system_of(assembly: Assembly, driver: str) -> str:
    """The kind of a driver: ``amqp``, ``redis``."""
    return assembly.project.kinds[driver].name.rpartition(".")[2]


class Meter:
    """``app.metrics``: the metrics of this process; one per app."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._last: Assembly | None = None
        """The assembly of the last snapshot: its counters are read also after the app has closed."""
        self._ended: Assembly | None = None
        """The assembly that is closing: its queues are not read any more."""
        self._reconnects: dict[str, int] = {}
        """By driver, in the last snapshot: it must not fall."""
        self.depths = DepthReader(runtime)
        self._telemetry: Telemetry | None = None

    def snapshot(self) -> Snapshot:
        """The metrics of this process as plain data; see :mod:`tasuki.observe.exposition.snapshots`.

        Safe from any thread, and never asks a broker; after the app has closed, as they were then. The first call
        begins to count waits, and to read the depths of the queues every 5 s: without a call neither costs anything.
        """
        runtime, assembly = self._runtime, self._runtime.assembly
        if assembly is not None:
            self._last = assembly
            for consumer in list(assembly.consumers.values()):
                consumer.metrics.measure(runtime.clock)
            if assembly is not self._ended:
                self._read_depths()
        found = snapshot_of(self._last, runtime.supervisor.states(), self.depths.known(), runtime.clock.time())
        for id, driver in found["drivers"].items():  # the most of a consumer: it may be one that is gone
            driver["reconnects"] = self._reconnects[id] = max(self._reconnects.get(id, 0), driver["reconnects"])
        return found

    def response(self, accept: str = "", query: str = "") -> tuple[str, bytes]:
        """The answer to a scrape of Prometheus: content type and body.

        Args:
            accept: the header ``Accept`` of the request; OpenMetrics where it asks for that.
            query: of the request: ``queues=a*`` (a pattern for ids, may be repeated) and ``histograms=0``.
        """
        return respond(self.snapshot(), accept, query)

    def to_opentelemetry(self, provider: object = None, /) -> str:
        """Give metrics to OpenTelemetry's meters; returns the id of the entry, a ``metrics.config``.

        ``provider``: the MeterProvider; None: the application's global one.
        """
        declared = self._runtime.source.declared
        return declared.add("metrics", "metrics.config", {"opentelemetry": True}, target=provider).id

    def _read_depths(self) -> None:
        loop = self._runtime.loop
        if loop is not None and not self.depths.is_running:
            with suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(self.depths.start)

    def begin(self, assembly: Assembly) -> None:
        """The app has opened, or has a new version: give its metrics away, if it asks for that.

        Raises:
            UnsupportedError: OpenTelemetry is not installed.
        """
        if self._telemetry is None:
            self._telemetry = make_telemetry(self._runtime, assembly)
        if self._telemetry is not None:
            for consumer in assembly.consumers.values():
                consumer.metrics.measure(self._runtime.clock)
            bind(self._telemetry, assembly)

    async def stop(self) -> None:
        """Read no queue any more: the drivers are about to close."""
        self._ended = self._runtime.assembly
        await self.depths.stop()
