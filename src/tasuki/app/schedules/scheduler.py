"""Scheduler: the service that fires the schedules of one state, beside the consumers of a worker."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from tasuki.clock import Clock
from tasuki.contracts.state.store import Store
from tasuki.errors import ConflictError, DriverError, PublishError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.message import MESSAGE_TYPE
from tasuki.observe.metrics import ScheduleMetrics
from tasuki.observe.trace import APART, CURRENT
from tasuki.queues.queue import Envelope, GroupEnvelope, Queue
from tasuki.queues.result import Confirmed, Rejected
from tasuki.schedules.firing import Firing, identity
from tasuki.schedules.schedule import SCHEDULE, SCHEDULED_FOR, Schedule, Tick
from tasuki.schedules.schedule_group import Left
from tasuki.state.pauses import pause_in
from tasuki.state.shared import STATE, SharedState
from tasuki.supervisor.spec import ServiceSpec

_log = logging.getLogger("tasuki.schedules")


_WINDOW = 3600.0
"""Seconds in which a worker may publish the ticks of one that was killed, again."""


SALT = "schedules/salt"
"""Key of the text by which random times and jitters differ between installations."""

_LATE = 10.0
"""Seconds after its moment from which on a tick counts as late."""


class Scheduled(NamedTuple):
    """A schedule's entry, and its queue."""

    id: str
    config: ScheduleConfig
    queue: Queue

    def envelope(self, at: int, message_id: str, delay: float = 0.0) -> Envelope[Any]:
        """Its message for a moment, in UTC seconds."""
        config = self.config
        headers, body = {**config.headers, SCHEDULE: self.id, SCHEDULED_FOR: text_of(at)}, config.body
        if config.task is not None:
            headers[MESSAGE_TYPE], body = config.task, body or {}
        return GroupEnvelope(body=body, headers=headers, id=message_id, delay=delay, is_recorded=True)

    def tick(self, tick: Tick) -> Envelope[Any]:
        """Its message for a tick: published once, where the driver can tell, also by a worker that takes over."""
        envelope = self.envelope(tick.at, tick.message_id, tick.ready_at - tick.at)
        able = self.queue.driver.capabilities
        if self.config.overlap == "skip":
            envelope.unique, envelope.unique_for, envelope.on_conflict = f"schedule:{self.id}", "running", "keep"
        elif "window" in able.unique and not self._has_key(envelope):
            envelope.unique, envelope.on_conflict = tick.message_id, "keep"
            envelope.unique_for = _WINDOW
        return envelope

    def _has_key(self, envelope: Envelope[Any]) -> bool:
        """Whether the rule of the queue makes the message unique: it holds for every publish."""
        if (rule := self.queue.policy.unique) is None:
            return False
        try:
            return rule.key.read(envelope.body, envelope.headers) is not None
        except PublishError:  # which the publish will say
            return True


class Scheduler:
    """All schedules of a project whose queues have one state. Every worker has it, and one of them fires."""

    def __init__(self, state: SharedState, schedules: Mapping[str, Scheduled], clock: Clock) -> None:
        self.state = state
        self.schedules = schedules
        self.metrics = {id: ScheduleMetrics() for id in schedules}
        self._clock = clock
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to take part. Raises DriverError: the store cannot be opened."""
        store, controls = await self.state.store(), await self.state.follow()
        holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex}"
        firing = Firing(
            store,
            self.publish,
            lambda id: pause_in(controls, "schedule", id) is not None,
            clock=self._clock,
            holder=holder,
        )
        needs_salt = any(each.config.needs_salt for each in self.schedules.values())
        firing.use(identified(self.schedules, await make_salt(store) if needs_salt else ""))
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

    async def publish(self, ticks: Sequence[Tick]) -> Left | None:
        """See ``Publish``. A message that its queue will never take is logged and left out: others must not wait."""
        CURRENT.set(APART)  # of the task of a lane: each tick begins a trace
        left: list[Tick] = []
        error: Exception | None = None
        for queue, portion in self._by_queue(ticks):
            results = await queue.publish_many([self.schedules[tick.schedule.id].tick(tick) for tick in portion])
            for tick, result in zip(portion, results, strict=True):
                if isinstance(result, Confirmed):
                    self._count(tick, result)
                    continue
                if isinstance(result, Rejected) and not result.retryable:
                    self.metrics[tick.schedule.id].skipped += 1
                    _log.error("schedule %s: the message of %s was refused: %s",
                               tick.schedule.id, text_of(tick.at), result.error)  # fmt: skip
                    continue
                left.append(tick)
                error = result.error
                if not isinstance(error, DriverError):
                    error = DriverError(str(error), queue=queue.id)
        return Left(left, error) if isinstance(error, DriverError) else None

    def _count(self, tick: Tick, result: Confirmed) -> None:
        metrics, now = self.metrics[tick.schedule.id], self._clock.time()
        if result.outcome == "kept":
            metrics.skipped += 1
            return
        metrics.last_success = now
        if now - tick.at > _LATE:
            metrics.late += 1
        else:
            metrics.published += 1

    def _by_queue(self, ticks: Sequence[Tick]) -> list[tuple[Queue, list[Tick]]]:
        found: dict[str, tuple[Queue, list[Tick]]] = {}
        for tick in ticks:
            queue = self.schedules[tick.schedule.id].queue
            found.setdefault(queue.id, (queue, []))[1].append(tick)
        return list(found.values())


def identified(schedules: Mapping[str, Scheduled], salt: str) -> dict[bytes, Schedule]:
    """The schedules by their identities; ``salt``: of the installation."""
    return {
        identity(id, queue.spec.name): Schedule(
            id, config.timing(id, salt), config.catch_up, config.jitter,
            lane=queue.id, broker=queue.driver.name, salt=salt,
        )
        for id, config, queue in schedules.values()
    }  # fmt: skip


async def read_salt(store: Store) -> str | None:
    """The salt of an installation; None: no worker has needed it yet. Raises DriverError."""
    found = await store.get(SALT)
    return None if found is None else found.value.decode()


async def make_salt(store: Store) -> str:
    """The same; made if there is none. Raises DriverError."""
    if (found := await read_salt(store)) is not None:
        return found
    with suppress(ConflictError):  # another worker was faster
        await store.put(SALT, uuid4().hex.encode(), version=0)
    return await read_salt(store) or ""


def text_of(at: int) -> str:
    """UTC seconds as a time: ``2026-12-24T18:00:00Z``."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def build_schedulers(
    project: Project,
    queues: Mapping[str, Queue],
    state_of: Callable[[str], SharedState | None],
    clock: Clock,
    old: Mapping[str, Scheduler],
) -> dict[str, Scheduler]:
    """By the ids of their services, which no entry can have. Those whose schedules are as before are the old ones."""
    found: dict[SharedState, dict[str, Scheduled]] = {}
    for id, config in project.of(ScheduleConfig).items():
        state = state_of(config.queue)
        if config.enabled and state is not None:
            found.setdefault(state, {})[id] = Scheduled(id, config, queues[config.queue])
    schedulers = {}
    for state, schedules in found.items():
        service = f"schedules of {state.driver.name}" + ("" if state.name == STATE else f" in {state.name}")
        before = old.get(service)
        is_same = before is not None and (before.state, before.schedules) == (state, schedules)
        schedulers[service] = before if before is not None and is_same else Scheduler(state, schedules, clock)
    return schedulers


def scheduler_specs(schedulers: Mapping[str, Scheduler]) -> dict[str, ServiceSpec]:
    """Their services: each starts with the consumers, after the driver of its store.

    Not after the drivers of its queues: an unavailable broker delays the ticks of its queues alone.
    """
    return {
        id: ServiceSpec(
            id=id, service=scheduler, depends_on=[scheduler.state.driver.name], auto_start=True, startup="optional"
        )
        for id, scheduler in schedulers.items()
    }
