"""Scheduler: the service that fires the schedules of one state, beside the consumers of a worker."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from tasuki.clock import Clock
from tasuki.errors import DriverError
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.message import MESSAGE_TYPE
from tasuki.queues.queue import Envelope, Queue
from tasuki.queues.result import Confirmed, Rejected
from tasuki.schedules.firing import Firing
from tasuki.schedules.identities import identity
from tasuki.schedules.schedule import Schedule, Tick
from tasuki.state.shared import SharedState

_log = logging.getLogger("tasuki.schedules")

SCHEDULE = "schedule"
"""Header: the id of the schedule that published a message."""
SCHEDULED_FOR = "scheduled_for"
"""Header: the time of its tick, as ISO 8601 in UTC."""


class Scheduled(NamedTuple):
    """A schedule's entry, and its queue."""

    config: ScheduleConfig
    queue: Queue


class Scheduler:
    """All schedules of a project whose queues have one state. Every worker has it, and one of them fires."""

    def __init__(self, state: SharedState, schedules: Mapping[str, Scheduled], clock: Clock) -> None:
        self.state = state
        self.schedules = schedules
        self._clock = clock
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to take part. Raises DriverError: the store cannot be opened."""
        store, controls = await self.state.store(), await self.state.follow()
        holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex}"
        firing = Firing(
            store,
            self.publish,
            lambda id: controls.get(f"pause/schedule/{id}") is not None,
            clock=self._clock,
            holder=holder,
        )
        firing.use(dict(map(_identified, self.schedules.items())))
        self._running = asyncio.create_task(firing.run(), name=f"schedules of {self.state.driver.name}")

    async def wait(self) -> None:
        """Ends only with a defect, which it raises."""
        if self._running is not None:
            await asyncio.shield(self._running)

    async def stop(self, timeout: float) -> None:
        """Leave the firing to other workers."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    async def publish(self, ticks: Sequence[Tick]) -> None:
        """See ``Publish``. A message that its queue will never take is logged and left out: others must not wait."""
        now = self._clock.time()
        for queue, portion in _by_queue(ticks, self.schedules):
            results = await queue.publish_many([self._envelope(tick, now) for tick in portion])
            for tick, result in zip(portion, results, strict=True):
                if isinstance(result, Confirmed):
                    continue
                if isinstance(result, Rejected) and not result.retryable:
                    _log.error("schedule %s: the message of %s was refused: %s",
                               tick.schedule.id, _iso(tick.at), result.error)  # fmt: skip
                elif isinstance(result.error, DriverError):
                    raise result.error
                else:
                    raise DriverError(str(result.error), queue=queue.id)

    def _envelope(self, tick: Tick, now: float) -> Envelope[Any]:
        config = self.schedules[tick.schedule.id].config
        headers = {**config.headers, SCHEDULE: tick.schedule.id, SCHEDULED_FOR: _iso(tick.at)}
        body = config.body
        if config.task is not None:
            headers, body = {**headers, MESSAGE_TYPE: config.task}, body or {}
        delay = tick.ready_at - tick.at
        return Envelope(body=body, headers=headers, id=tick.message_id, delay=delay)


def _identified(item: tuple[str, Scheduled]) -> tuple[bytes, Schedule]:
    id, (config, queue) = item
    return identity(id, queue.spec.name), Schedule(id, config.timing, config.catch_up, config.jitter)


def _by_queue(ticks: Sequence[Tick], schedules: Mapping[str, Scheduled]) -> list[tuple[Queue, list[Tick]]]:
    found: dict[str, tuple[Queue, list[Tick]]] = {}
    for tick in ticks:
        queue = schedules[tick.schedule.id].queue
        found.setdefault(queue.id, (queue, []))[1].append(tick)
    return list(found.values())


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
