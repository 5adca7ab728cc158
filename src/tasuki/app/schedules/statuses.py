"""ScheduleStatus: how each schedule of a project stands, read from its store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from tasuki.app.schedules.scheduler import Scheduled, identified, read_salt
from tasuki.errors import BrokerUnavailableError, DriverError, UnsupportedError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.message import new_id
from tasuki.queues.result import Confirmed
from tasuki.registry.entry import find_named
from tasuki.schedules.firing import find_mark, read_known
from tasuki.schedules.schedule import is_spread, spread
from tasuki.schedules.timing import last_tick, next_tick
from tasuki.state.pauses import PAUSE, Pause, find_all, pause_key, read_pause
from tasuki.state.shared import SILENT, SharedState
from tasuki.units import format_duration

if TYPE_CHECKING:
    from tasuki.app.host import ProjectHost
    from tasuki.security.guard import Guard


class ScheduleStatus(NamedTuple):
    """A schedule as it stands; times are in UTC."""

    id: str
    queue: str
    """Id of its queue."""
    timing: str
    """Its cron expression with its time zone, or its interval."""
    next: datetime | None
    """Its next tick; None: it has none, is off, or is paused without an end."""
    last: datetime | None
    """The last tick that was published, or passed over by a pause; None: none since a worker first saw it."""
    is_enabled: bool
    pause: Pause | None
    """Why it is paused; None: it is not."""
    is_known: bool
    """Whether a worker has seen it with its timing: only then its ticks count."""
    is_late: bool
    """Whether a tick is not published 15 seconds after it: no worker runs, or the queue takes nothing."""
    timezone: str = "UTC"
    """The time zone in which its expression is read, and in which people expect its times."""


_LATE = 15
"""Seconds after which a tick without a message is late: thrice the time in which another worker takes over."""


def find_schedule(project: Project, name: str) -> str:
    """The id of a schedule. Raises ConfigError."""
    return find_named(name, project.of(ScheduleConfig), "schedule")


def scheduled_in(host: ProjectHost, id: str) -> Scheduled:
    """A schedule's entry with its queue."""
    config = host.project.of(ScheduleConfig)[id]
    return Scheduled(id, config, host.queues[config.queue])


async def publish_now(host: ProjectHost, schedule: str, guard: Guard | None) -> str:
    """Publish the message of a schedule, by its id, now; returns the id of the message.

    ``guard``: the rights of the publisher; None: all. Raises PolicyDeniedError, UnsupportedError, DriverError.
    """
    found = scheduled_in(host, schedule)
    if (state := host.state_of(found.queue.id)) is None:
        raise UnsupportedError(f"schedule {found.id!r}: its queue has no state", queue=found.queue.id)
    now = await (await state.store()).time()
    envelope = found.envelope(int(now), f"schedule:{found.id}:now:{new_id()}")
    queue = found.queue if guard is None else found.queue.guarded_by(guard)
    (result,) = await queue.publish_many([envelope])
    if not isinstance(result, Confirmed):
        raise result.error
    return result.id


async def statuses_of(host: ProjectHost) -> list[ScheduleStatus]:
    """All schedules, in the order of declaration. Raises DriverError."""
    found: dict[str, ScheduleStatus] = {}
    for state, schedules in _by_state(host).items():
        found.update(await _statuses_in(state, schedules))
    return [found[id] for id in host.project.of(ScheduleConfig) if id in found]


class Seen(NamedTuple):
    """The schedules whose stores can be read now, and why others cannot."""

    statuses: list[ScheduleStatus]
    problems: list[DriverError]


async def statuses_seen(host: ProjectHost) -> Seen:
    """As ``statuses_of``, but an unavailable store or silent keeps nothing from the others."""
    found: dict[str, ScheduleStatus] = {}
    problems: list[DriverError] = []

    async def look(state: SharedState, schedules: Mapping[str, Scheduled]) -> None:
        try:
            async with asyncio.timeout(SILENT):
                found.update(await _statuses_in(state, schedules))
        except DriverError as error:
            problems.append(error)
        except TimeoutError:
            name = state.driver.name
            problems.append(BrokerUnavailableError(f"the store of driver {name} has not answered for {SILENT:g} s"))

    await asyncio.gather(*(look(state, schedules) for state, schedules in _by_state(host).items()))
    return Seen([found[id] for id in host.project.of(ScheduleConfig) if id in found], problems)


def _by_state(host: ProjectHost) -> Mapping[SharedState, Mapping[str, Scheduled]]:
    """The schedules of each state; without the schedules of queues that have none."""
    by_state: dict[SharedState, dict[str, Scheduled]] = {}
    for id in host.project.of(ScheduleConfig):
        scheduled = scheduled_in(host, id)
        if (state := host.state_of(scheduled.queue.id)) is not None:
            by_state.setdefault(state, {})[id] = scheduled
    return by_state


async def _statuses_in(state: SharedState, schedules: Mapping[str, Scheduled]) -> dict[str, ScheduleStatus]:
    store = await state.store()
    salt = await read_salt(store) if any(each.config.needs_salt for each in schedules.values()) else ""
    identities = identified({id: each for id, each in schedules.items() if each.config.enabled}, salt or "")
    scope, mark = await find_mark(store, identities) if identities else ("", None)
    known = await read_known(store, scope)
    pauses, now = await find_all(state, PAUSE), int(await store.time())
    since = {schedule.id: known.since(own, schedule) for own, schedule in identities.items()}
    return {
        id: _status(each, now, 0 if mark is None else mark.of(each.queue.spec.name), since.get(id), pauses, salt)
        for id, each in schedules.items()
    }


def _status(
    scheduled: Scheduled, now: int, done: int, since: int | None, pauses: Mapping[str, bytes], salt: str | None
) -> ScheduleStatus:
    id, config, queue = scheduled
    paused = None if (raw := pauses.get(pause_key("schedule", id))) is None else read_pause(raw)
    begin = now if paused is None or paused.until is None else max(now, int(paused.until))
    ticking = config.timing(id, salt or "")
    is_open = salt is None and config.cron is not None and is_spread(config.cron)
    is_off = not config.enabled or is_open or (paused is not None and paused.until is None)
    next_at = None if is_off else next_tick(ticking, begin)
    last_at = last_tick(ticking, done) if since is not None else None
    if config.cron is not None:
        cron = config.cron if salt is None else spread(config.cron, id, salt)
        timing = cron if config.timezone == "UTC" else f"{cron} ({config.timezone})"
    else:
        timing = f"every {format_duration(config.every or 0.0)}"
    missed = last_tick(ticking, now - _LATE) if since is not None and paused is None else None
    return ScheduleStatus(
        id=id,
        queue=queue.id,
        timing=timing,
        next=None if next_at is None else datetime.fromtimestamp(next_at, UTC),
        last=None if last_at is None or since is None or last_at <= since else datetime.fromtimestamp(last_at, UTC),
        is_enabled=config.enabled,
        pause=paused,
        is_known=since is not None,
        is_late=missed is not None and since is not None and missed > max(done, since),
        timezone=config.timezone,
    )
