"""``queue.driver.amqp``."""

from __future__ import annotations

from tasuki.kinds.drivers.driver import DriverConfig, driver_kind


class AMQPDriverConfig(DriverConfig):
    """Queues at AMQP."""


KIND = driver_kind("amqp", AMQPDriverConfig, "tasuki.drivers.amqp:AMQPDriver")
