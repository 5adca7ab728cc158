"""``queue.driver.memory``."""

from __future__ import annotations

from tasuki.fields.types import DRIVER_PREFIX, Config, DriverKind, LengthOptions


class MemorySettings(Config):
    """Queues in the memory of one process: for development and tests."""


KIND = DriverKind(
    DRIVER_PREFIX + "memory",
    MemorySettings,
    driver="tasuki.drivers.memory.driver:MemoryDriver",
    queue_options=LengthOptions,
)
