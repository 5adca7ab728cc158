"""Stores and their drivers: each kind of store is for one kind of driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasuki.fields.kinds import DRIVER_PREFIX, DriverKind, Kind
from tasuki.fields.types import Config
from tasuki.kinds.entries.store import OF_DRIVERS, STORE_PREFIX, DriverStoreConfig
from tasuki.registry.entry import KeyPath

Finding = tuple[str, KeyPath, str, str]
"""Id of the entry, path, problem, hint."""


def problems_of_stores(configs: Mapping[str, Config], kinds: Mapping[str, Kind]) -> Iterator[Finding]:
    """Stores whose driver has no store, or one of another kind."""
    for id, config in configs.items():
        driver = kinds.get(config.driver) if isinstance(config, DriverStoreConfig) else None
        if not isinstance(config, DriverStoreConfig) or not isinstance(driver, DriverKind):
            continue
        wanted, found = kinds[id].name.removeprefix(STORE_PREFIX), driver.short_name
        if found == wanted:
            continue
        problem = f"a {STORE_PREFIX}{wanted} needs a {DRIVER_PREFIX}{wanted}, but {config.driver!r} is a {driver.name}"
        yield id, ("driver",), problem, _hint(found)


def _hint(driver: str) -> str:
    if driver in OF_DRIVERS:
        return f"make it a {STORE_PREFIX}{driver}, or name another driver"
    if driver == "memory":
        return f"make it a {STORE_PREFIX}memory without a driver, or name another driver"
    return f"that driver has no store; name a driver of these kinds: {', '.join(OF_DRIVERS)}"
