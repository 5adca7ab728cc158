"""What the kinds of drivers have in common."""

from __future__ import annotations

from typing import Any

from tasuki.kinds.entries.lifecycle import REFERENCES, LifecycleConfig
from tasuki.kinds.fields import Config, Count, DurabilityLevel
from tasuki.kinds.kind import DRIVER_PREFIX, DriverKind


class DriverConfig(Config):
    """What every driver has."""

    durability: DurabilityLevel | None = None
    """What a confirmed message must survive on all of its queues; publishing is refused while the broker gives less."""
    lifecycle: LifecycleConfig = LifecycleConfig()
    """When it starts and stops."""


class LengthOptions(Config):
    """Options of a queue whose driver bounds it itself."""

    max_length: Count | None = None
    """Most messages the queue may hold; 0: no limit."""


def driver_kind(
    name: str,
    model: type[Config],
    path: str,
    queue_options: type[Config] = LengthOptions,
    **more: Any,
) -> DriverKind:
    """The kind ``queue.driver.<name>``; ``path`` is the import path of its class; ``more`` fields: see DriverKind."""
    return DriverKind(DRIVER_PREFIX + name, model, REFERENCES, driver=path, queue_options=queue_options, **more)
