"""Drivers at Redis for the fault tests, with the queue ``q``."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.settings import RedisSettings
from tests.support.brokers.rig import opened


def driver_at(port: int, *, spec: QueueSpec | None = None, **fields: Any) -> AbstractAsyncContextManager[RedisDriver]:
    """An open driver with the queue ``q``."""
    if not {"url", "addrs"} & fields.keys():
        fields["url"] = f"redis://127.0.0.1:{port}"
    return opened(RedisDriver("test", RedisSettings(**fields)), spec or QueueSpec("q"))
