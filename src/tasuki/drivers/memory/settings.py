"""``queue.driver.memory``."""

from __future__ import annotations

from tasuki.fields.kinds import DRIVER_PREFIX, DriverKind, LengthOptions
from tasuki.fields.types import Config


class MemorySettings(Config):
    """Queues in the memory of one process: for development and tests."""


KIND = DriverKind(
    DRIVER_PREFIX + "memory",
    MemorySettings,
    driver="tasuki.drivers.memory.driver:MemoryDriver",
    queue_options=LengthOptions,
)
