"""``queue.driver.sqs``."""

from __future__ import annotations

from tasuki.kinds.drivers.driver import DriverConfig, driver_kind


class SQSDriverConfig(DriverConfig):
    """Queues at SQS."""


KIND = driver_kind("sqs", SQSDriverConfig, "tasuki.drivers.sqs:SQSDriver")
