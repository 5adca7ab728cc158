"""``queue.driver.redis``."""

from __future__ import annotations

from tasuki.kinds.drivers.driver import DriverConfig, driver_kind


class RedisDriverConfig(DriverConfig):
    """Queues at Redis."""


KIND = driver_kind("redis", RedisDriverConfig, "tasuki.drivers.redis:RedisDriver")
