"""``queue.driver.nats``."""

from __future__ import annotations

from tasuki.kinds.drivers.driver import DriverConfig, driver_kind


class NATSDriverConfig(DriverConfig):
    """Queues at NATS."""


KIND = driver_kind("nats", NATSDriverConfig, "tasuki.drivers.nats:NATSDriver")
