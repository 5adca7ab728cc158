"""In which order objects are made, and which code stays the same at a reload."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from tasuki.fields.types import Config
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.lifecycle import DriverConfig
from tasuki.kinds.entries.queue import QueueConfig


def is_same_code(kind: type[Config], project: Project, old: Project) -> bool:
    """Whether all entries of a kind are as they were, in the order of declaration and with their code."""
    return list(project.of(kind).items()) == list(old.of(kind).items()) and all(
        project.registry.entries[id].target == old.registry.entries[id].target for id in project.of(kind)
    )


def stage_of(config: Config) -> int:
    """When an object is made: drivers first, then queues, functions and stores, and last the consumers."""
    if isinstance(config, DriverConfig):
        return 0
    if isinstance(config, QueueConfig):
        return 1
    return 3 if isinstance(config, ConsumerConfig) else 2


def services_behind(id: str, edges: Mapping[str, Sequence[str]], services: Container[str]) -> list[str]:
    """The services that an entry depends on, directly or through entries that are no services."""
    found: dict[str, None] = {}
    todo = list(edges.get(id, ()))
    while todo:
        next_id = todo.pop(0)
        if next_id in services:
            found[next_id] = None
        else:
            todo += edges.get(next_id, ())
    return list(found)
