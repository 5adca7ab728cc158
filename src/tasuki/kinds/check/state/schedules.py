"""Schedules: checks the options of their queues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasuki.fields.kinds import DriverKind, Kind
from tasuki.fields.types import Config
from tasuki.kinds.capabilities import all_capabilities, capabilities_of
from tasuki.kinds.check.tasks import Finding
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.driver import DriverConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.registry.references import did_you_mean
from tasuki.units import format_duration

_LONGEST_ID = 230
"""Characters of a schedule's id, so that the ids of its messages are not too long."""
_SHORTER = f"write at most {_LONGEST_ID} with the namespace"


def problems_of_schedules(configs: Mapping[str, Config], kinds: Mapping[str, Kind]) -> Iterator[Finding]:
    """Every problem between a schedule and its queue."""
    tasks: dict[str, set[str]] = {}
    for config in configs.values():
        if isinstance(config, ConsumerConfig):
            tasks.setdefault(config.queue, set()).update(config.funcs)
    for id, schedule in configs.items():
        if isinstance(schedule, ScheduleConfig):
            if len(id) > _LONGEST_ID:
                yield id, ("name",), f"its id has {len(id)} characters, and its messages are named by it", _SHORTER
            yield from _of_driver(configs, kinds, id, schedule)
            yield from _of_task(tasks.get(schedule.queue, set()), id, schedule)


def _of_driver(
    configs: Mapping[str, Config], kinds: Mapping[str, Kind], id: str, schedule: ScheduleConfig
) -> Iterator[Finding]:
    queue = configs.get(schedule.queue)
    driver = configs.get(queue.driver) if isinstance(queue, QueueConfig) else None
    if not isinstance(queue, QueueConfig) or not isinstance(driver, DriverConfig):
        return
    kind = kinds[queue.driver]
    capabilities = capabilities_of(kind) if isinstance(kind, DriverKind) else None
    if not isinstance(kind, DriverKind) or capabilities is None:
        return
    if schedule.overlap == "skip" and "running" not in capabilities.unique:
        able = [name for name, has in all_capabilities().items() if "running" in has.unique]
        problem = f"overlap: skip needs a driver that keeps one message per key until it is done; {queue.driver!r} "
        yield id, ("overlap",), f"{problem}({kind.short_name}) cannot", f"these can: {', '.join(able)}"
    if queue.unique is not None and queue.unique.on_conflict == "extend" and schedule.overlap != "skip":
        problem = (
            f"queue {schedule.queue!r} delays its unique messages again (on_conflict: extend), and ticks have no delay"
        )
        yield id, ("queue",), problem, "publish to a queue without that rule, or write overlap: skip"
    longest = capabilities.max_delay
    if longest is not None and schedule.jitter > longest:
        problem = f"jitter is {format_duration(schedule.jitter)}, and {queue.driver!r} ({kind.short_name}) "
        most = f"delays messages for {format_duration(longest)} at most"
        yield id, ("jitter",), problem + most, f"write {format_duration(longest)} or less"
    if not capabilities.has("store") and not queue.state and not driver.state:
        problem = (
            f"queue {schedule.queue!r} has no state in which to note the last tick: {kind.short_name} has no store"
        )
        yield id, ("queue",), problem, f"give {schedule.queue!r} or {queue.driver!r} a store: state: <id of a store.…>"


def _of_task(tasks: set[str], id: str, schedule: ScheduleConfig) -> Iterator[Finding]:
    if schedule.task is None or schedule.task in tasks:
        return
    known = f"its tasks are {', '.join(sorted(tasks))}" if tasks else "its consumer has no tasks"
    yield (
        id,
        ("task",),
        f"queue {schedule.queue!r} has no task {schedule.task!r}",
        did_you_mean(schedule.task, tasks) or known,
    )
