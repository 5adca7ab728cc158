"""What every driver has beside its own settings."""

from __future__ import annotations

from tasuki.fields.types import Config, DurabilityLevel, Id
from tasuki.kinds.entries.lifecycle import LifecycleConfig


class DriverConfig(Config):
    """The fields of every driver."""

    durability: DurabilityLevel | None = None
    """What a confirmed message must survive on all of its queues; publishing is refused while the broker gives less."""
    state: Id | None = None
    """The store for the state of its queues: pauses, cancelled messages, results; default: the driver's own."""
    lifecycle: LifecycleConfig = LifecycleConfig()
    """When it starts and stops."""
