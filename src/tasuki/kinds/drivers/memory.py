"""``queue.driver.memory``."""

from __future__ import annotations

from tasuki.kinds.drivers.driver import DriverConfig, driver_kind


class MemoryDriverConfig(DriverConfig):
    """Queues in the memory of one process: for development and tests."""


KIND = driver_kind("memory", MemoryDriverConfig, "tasuki.drivers.memory:MemoryDriver")
