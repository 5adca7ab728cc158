"""``queue.driver.*``: the drivers of this version, and the options that they understand."""

from __future__ import annotations

from typing import Literal

from tasuki.kinds.fields import Config, Count, DurabilityLevel, Duration, Text
from tasuki.kinds.kind import DRIVER_PREFIX, DriverKind
from tasuki.kinds.lifecycle import REFERENCES, LifecycleConfig


class DriverConfig(Config):
    """What every driver has."""

    durability: DurabilityLevel | None = None
    """What a confirmed message must survive on all of its queues; refused at the start if the broker cannot."""
    lifecycle: LifecycleConfig = LifecycleConfig()
    """When it starts and stops."""


class MemoryDriverConfig(DriverConfig):
    """Queues in the memory of one process: for development and tests."""


class SqliteDriverConfig(DriverConfig):
    """Queues in a file: durable, and shared by the processes of one machine."""

    path: Text = ".tasuki/queue.db"
    """The database file; a relative path starts at the project's folder."""
    synchronous: Literal["full", "normal"] = "full"
    """full: a confirmed message survives a power loss; normal: it survives a crash of the process."""
    busy_timeout: Duration = 5.0
    """Longest wait for another process that is writing."""


class LengthOptions(Config):
    """Queue options of the drivers that can bound a queue themselves."""

    max_length: Count | None = None
    """Most messages the queue may hold; 0: no limit."""


def _driver(name: str, model: type[Config], path: str) -> DriverKind:
    return DriverKind(DRIVER_PREFIX + name, model, REFERENCES, driver=path, queue_options=LengthOptions)


KINDS = (
    _driver("memory", MemoryDriverConfig, "tasuki.drivers.memory:MemoryDriver"),
    _driver("sqlite", SqliteDriverConfig, "tasuki.drivers.sqlite:SQLiteDriver"),
)
