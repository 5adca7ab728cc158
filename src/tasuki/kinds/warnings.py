"""Scripts that may hold the event loop so long that brokers take back what the process holds."""

from __future__ import annotations

from collections.abc import Iterator

from tasuki.kinds.function import LuaFunctionConfig
from tasuki.kinds.project import Project
from tasuki.kinds.queue import QueueConfig
from tasuki.units import format_duration

_PART = 3
"""Of a lease or heartbeat: renewing is due after a third of it."""


def long_scripts(project: Project) -> list[str]:
    """A warning for each shared script whose time limit is more than a third of the shortest lease or heartbeat."""
    shortest, whose = min(_patience(project), default=(0.0, ""))
    return [
        f"{id}: limits.time ({format_duration(config.limits.time)}) is more than a third of {whose}: a script"
        " that computes for so long holds up the renewal; lower it, or give the function a pool or isolation: process"
        for id, config in sorted(project.of(LuaFunctionConfig).items())
        if shortest and config.isolation == "shared" and config.pool is None and config.limits.time * _PART > shortest
    ]


def _patience(project: Project) -> Iterator[tuple[float, str]]:
    for id, config in project.configs.items():
        if isinstance(config, QueueConfig):
            yield config.lease, f"the lease of {id} ({format_duration(config.lease)})"
        elif heartbeat := getattr(config, "heartbeat", 0.0):
            yield heartbeat, f"the heartbeat of {id} ({format_duration(heartbeat)})"
