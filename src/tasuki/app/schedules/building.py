"""The schedulers of an assembly: one for each state that schedules of its queues are kept in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tasuki.app.schedules.scheduler import Scheduled, Scheduler
from tasuki.clock import Clock
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.queues.queue import Queue
from tasuki.state.shared import STATE, SharedState
from tasuki.supervisor.spec import ServiceSpec


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
