"""A snapshot of a worker's consumers, for any thread; which handlers run unusually long."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from tasuki.clock import Clock
from tasuki.consumers.consumer import Consumer
from tasuki.consumers.handling.shared import SharedWorkers
from tasuki.message import PARTITION_KEY
from tasuki.observe.metrics import Histogram, quantile
from tasuki.state.worker_record import Presence, PresentConsumer, RunningMessage, WorkerHealth

if TYPE_CHECKING:
    from tasuki.consumers.delivery import Delivery
    from tasuki.consumers.handling.pool import PoolWorker


LEAST = 300.0
"""Seconds that no handler has exceeded before it counts."""

FACTOR = 10.0
"""How many times the 95th percentile of the consumer it must exceed."""

_SHARE = 0.95


class LongRun(NamedTuple):
    """The seconds for which a handler has run, and the bound that it has exceeded."""

    seconds: float
    bound: float


def bound_of(runs: Histogram) -> float:
    """Seconds after which a run of this consumer is long; ``runs``: its handlers that have ended."""
    usual = quantile(list(runs.bounds), list(runs.counts), _SHARE)
    return max(FACTOR * (usual or 0.0), LEAST)


def long_runs(workers: Iterable[PoolWorker], runs: Histogram, now: float) -> dict[Delivery, LongRun]:
    """The handlers without ``handler_timeout`` that have run for long. ``now``: of the clock of the consumer."""
    busy = [(worker.delivery, now - worker.started, worker.limit) for worker in workers]
    old = {each: seconds for each, seconds, limit in busy if each is not None and limit is None and seconds > LEAST}
    bound = bound_of(runs) if old else 0.0
    return {delivery: LongRun(seconds, bound) for delivery, seconds in old.items() if seconds > bound}


MOST_MESSAGES = 50
"""Running messages of a consumer that are named."""

_PROCESS = uuid4().hex[:12]


class Describer:
    """The entry of this process; its start is the time of its first entry in each store.

    ``health``: how the process is; from any thread.
    """

    def __init__(self, version: str, clock: Clock, health: Callable[[], WorkerHealth | None] = lambda: None) -> None:
        self._version = version
        self._clock = clock
        self._health = health
        self._born = clock.monotonic()

    def __call__(self, consumers: Sequence[Consumer], now: float) -> Presence:
        """The entry for a store whose clock says ``now``."""
        here = self._clock.monotonic()
        firsts = {consumer.queue: consumer for consumer in reversed(consumers)}
        return Presence(
            host=socket.gethostname(),
            pid=os.getpid(),
            version=self._version,
            started=now - (here - self._born),
            seen=now,
            process=_PROCESS,
            # By id, so that all processes leave out the same ones where an entry has no room.
            consumers=[
                _consumer(each, now, now - here, tells_held=firsts[each.queue] is each)
                for each in sorted(consumers, key=lambda each: each.id)
            ],
            health=self._health(),
            overlap=_overlap(consumers),
        )


def _overlap(consumers: Sequence[Consumer]) -> int:
    """Places of shared workers that count in more than one consumer."""
    places: dict[SharedWorkers, int] = {}
    for each in consumers:
        if each.share is not None:
            places[each.share.workers] = places.get(each.share.workers, 0) + each.now.concurrency
    return sum(max(count - workers.concurrency, 0) for workers, count in places.items())


def _consumer(consumer: Consumer, now: float, ahead: float, *, tells_held: bool) -> PresentConsumer:
    queue = consumer.queue
    kept = queue.driver.kept(queue.spec.name) if tells_held else None
    metrics, found = consumer.metrics, consumer.now
    busy = [(worker.delivery, worker.started) for worker in found.workers]
    long = long_runs(found.workers, metrics.handler_seconds, consumer.clock.monotonic())
    is_keyed = queue.spec.ordering == "key"
    running = [
        RunningMessage(
            one.received.id,
            one.function,
            round(min(started + ahead, now), 3),
            str(one.received.headers.get(PARTITION_KEY, "")) if is_keyed else "",
            long[delivery].bound if delivery in long else 0.0,
            one.lost,
        )
        for delivery, started in busy
        if delivery is not None
        for one in delivery.deliveries
    ]
    running.sort(key=lambda message: message.since)
    return PresentConsumer(
        id=consumer.id,
        queue=queue.spec.name,
        driver=queue.driver.name,
        concurrency=found.concurrency,
        running=sum(delivery is not None for delivery, _ in busy),  # a handler of a batch has many messages
        done=metrics.acked,
        failed=metrics.failed,
        held=0 if kept is None else kept.held,
        messages=running[:MOST_MESSAGES],
    )
