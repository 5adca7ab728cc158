"""``queue.driver.postgres``."""

from __future__ import annotations

from tasuki.kinds.drivers.driver import DriverConfig, driver_kind


class PostgresDriverConfig(DriverConfig):
    """Queues at Postgres."""


KIND = driver_kind("postgres", PostgresDriverConfig, "tasuki.drivers.postgres:PostgresDriver")
