"""Warnings: what a good project asks for in vain, or at a price; with the place, as errors have it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tasuki.errors import Position
from tasuki.kinds.consumer import ConsumerConfig
from tasuki.kinds.fields import NotHonored
from tasuki.kinds.function import LuaFunctionConfig
from tasuki.kinds.kind import DriverKind
from tasuki.kinds.options import option_path
from tasuki.kinds.project import Project
from tasuki.kinds.queue import QueueConfig
from tasuki.units import format_duration

_PART = 3
"""Of a lease or heartbeat: renewing is due after a third of it."""


@dataclass(frozen=True, slots=True)
class ConfigWarning:
    """Like a ConfigError, of a project that can be used all the same."""

    problem: str
    position: Position | None
    entry: str
    hint: str

    def __str__(self) -> str:
        """``file:line:column: entry: problem; hint``."""
        return f"{self.position or ''}: {self.entry}: {self.problem}; {self.hint}".removeprefix(": ")


def warnings_of(project: Project) -> list[ConfigWarning]:
    """Every warning, ordered by place."""
    found = [*_unused_options(project), *_long_scripts(project)]
    return sorted(found, key=lambda warning: (warning.position or Position("\uffff"), warning.entry, warning.problem))


def _unused_options(project: Project) -> Iterator[ConfigWarning]:
    """Options of queues and consumers that their driver cannot honor."""
    for id, config in project.configs.items():
        if isinstance(config, QueueConfig):
            yield from _not_honored(project, id, project.driver_of(id), config.options)
        elif isinstance(config, ConsumerConfig):
            yield from _not_honored(project, id, project.driver_of(config.queue), config.driver_options)


def _not_honored(project: Project, id: str, driver: DriverKind, options: dict[str, object]) -> Iterator[ConfigWarning]:
    entry = project.registry.entries[id]
    model = driver.queue_options if entry.kind == "queue.queue" else driver.consumer_options
    for name, field in model.model_fields.items():
        reason = next((each.reason for each in field.metadata if isinstance(each, NotHonored)), None)
        if reason is not None and options.get(name, field.default) != field.default:
            place = entry.position(option_path(entry, driver, name) or ())
            problem = f"{driver.short_name} option {name} has no effect"
            yield ConfigWarning(problem, place, id, reason)


def _long_scripts(project: Project) -> Iterator[ConfigWarning]:
    """Shared scripts whose time limit is more than a third of the shortest lease or heartbeat."""
    shortest, whose = min(_patience(project), default=(0.0, ""))
    for id, config in project.of(LuaFunctionConfig).items():
        is_on_the_loop = config.isolation == "shared" and config.pool is None
        if shortest and is_on_the_loop and config.limits.time * _PART > shortest:
            limit = format_duration(config.limits.time)
            yield ConfigWarning(
                f"limits.time ({limit}) is more than a third of {whose}: a script that computes for so long holds up"
                " the renewal",
                project.registry.entries[id].position(("limits", "time")),
                id,
                "lower it, or give the function a pool or isolation: process",
            )


def _patience(project: Project) -> Iterator[tuple[float, str]]:
    for id, config in project.configs.items():
        if isinstance(config, QueueConfig):
            yield config.lease, f"the lease of {id} ({format_duration(config.lease)})"
        elif heartbeat := getattr(config, "heartbeat", 0.0):
            yield heartbeat, f"the heartbeat of {id} ({format_duration(heartbeat)})"
