"""Stores: keys and values that handlers share, in the memory of one process or at the broker of a driver."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from tasuki.fields.types import DRIVER_PREFIX, Config, Count, Id, Kind, PositiveDuration, PositiveSize, Text
from tasuki.kinds.entries.lifecycle import REFERENCES, LifecycleConfig

STORE_PREFIX = "store."
OF_DRIVERS = ("sqlite", "postgres", "redis", "nats")
"""Short names of the drivers whose stores have a kind."""
_OWN = "state"
"""Name of the store that a driver has for its own queues."""


class MemoryStoreConfig(Config):
    """A store in the memory of each process."""

    max_size: Count = 10_000
    """Most keys; 0: the default."""
    max_bytes: PositiveSize = 64 * 2**20
    """Most memory for keys and values, as they are encoded."""
    cleanup_interval: PositiveDuration = 300.0
    """Longest time that an expired key takes memory in a store in use. Every call removes expired keys."""
    lifecycle: LifecycleConfig = LifecycleConfig()
    """When it starts and stops."""


def _free(name: str) -> str:
    if name == _OWN:
        raise ValueError(f"{_OWN!r} is the driver's own store; choose another")
    return name


class DriverStoreConfig(Config):
    """A store at the broker of a driver, on its connection: every process of the same broker and name shares it."""

    driver: Id
    """The driver whose connection it uses."""
    store_name: Annotated[Text, AfterValidator(_free)] | None = None
    """What the broker calls it; default: the id of the entry."""
    lifecycle: LifecycleConfig = LifecycleConfig()
    """When it starts and stops."""


_REFERENCES = {**REFERENCES, "driver": (DRIVER_PREFIX.rstrip("."),)}

KINDS = (
    Kind("store.memory", MemoryStoreConfig, REFERENCES),
    *(Kind(STORE_PREFIX + name, DriverStoreConfig, _REFERENCES) for name in OF_DRIVERS),
)
