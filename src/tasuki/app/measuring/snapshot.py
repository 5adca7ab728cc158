"""The snapshot of this process: plain numbers of its queues, consumers, drivers and schedules, read from any thread."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tasuki import __version__
from tasuki.app.measuring.depths import Reading
from tasuki.app.measuring.process import process_part
from tasuki.app.measuring.telemetry import system_of
from tasuki.consumers.consumer import Consumer
from tasuki.consumers.reports.snapshot import long_runs
from tasuki.observe.custom import OF_HANDLERS
from tasuki.observe.exposition.series import families
from tasuki.observe.exposition.snapshots import Snapshot
from tasuki.observe.metrics import BUCKETS, Histogram
from tasuki.queues.dead_letter import OF_LETTERS
from tasuki.queues.queue import Queue
from tasuki.state.pauses import pause_in
from tasuki.supervisor.spec import State, Status

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

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
