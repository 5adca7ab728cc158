"""Stores: checks that each kind of store has a driver of its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasuki.fields.kinds import DRIVER_PREFIX, DriverKind, Kind
from tasuki.fields.types import Config
from tasuki.kinds.entries.driver import DriverConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.store import OF_DRIVERS, STORE_PREFIX, DriverStoreConfig, MemoryStoreConfig
from tasuki.registry.entry import KeyPath
from tasuki.registry.registry import Registry
from tasuki.registry.yaml.overrides import is_overridden

Finding = tuple[str, KeyPath, str, str]
"""Id of the entry, path, problem, hint."""


def problems_of_stores(
    registry: Registry, configs: Mapping[str, Config], kinds: Mapping[str, Kind]
) -> Iterator[Finding]:
    """Stores that cannot be, and states that are in no store that all processes share."""
    yield from _of_other_drivers(registry, configs, kinds)
    for id, config in configs.items():
        named = config.state if isinstance(config, QueueConfig | DriverConfig) else None
        if named is not None and isinstance(configs.get(named), MemoryStoreConfig):
            problem = f"store {named!r} is a store.memory, which no other process sees: no state can be in it"
            hint = "name a store of a driver (store.sqlite, store.postgres, store.redis, store.nats)"
            yield id, ("state",), problem, hint


def _of_other_drivers(
    registry: Registry, configs: Mapping[str, Config], kinds: Mapping[str, Kind]
) -> Iterator[Finding]:
    """Stores whose driver has no store, or one of another kind; a driver that an override swaps takes them along."""
    for id, config in configs.items():
        driver = kinds.get(config.driver) if isinstance(config, DriverStoreConfig) else None
        if not isinstance(config, DriverStoreConfig) or not isinstance(driver, DriverKind):
            continue
        wanted, found = kinds[id].name.removeprefix(STORE_PREFIX), driver.short_name
        if found != "memory" and found not in OF_DRIVERS:
            hint = f"name a driver of these kinds: {', '.join(OF_DRIVERS)}"
            yield id, ("driver",), f"driver {config.driver!r} ({found}) has no store", hint
        elif found != wanted and not is_overridden(registry.entries[config.driver], ("kind",)):
            needed = f"a {STORE_PREFIX}{wanted} needs a {DRIVER_PREFIX}{wanted}"
            other = f"{STORE_PREFIX}{found}" + (" without a driver" if found == "memory" else "")
            problem = f"{needed}, but {config.driver!r} is a {driver.name}"
            yield id, ("driver",), problem, f"make it a {other}, or name another driver"


def shared_names(configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Queues of two drivers with one name and one store: their keys there are the same; for the warnings."""
    first: dict[tuple[str, str], str] = {}
    for id, config in configs.items():
        on = configs.get(config.driver) if isinstance(config, QueueConfig) else None
        if not isinstance(config, QueueConfig) or not isinstance(on, DriverConfig):
            continue
        named = config.state or on.state
        if named is None or (other := first.setdefault((named, config.queue_name), id)) == id:
            continue
        problem = f"{other!r} has the same name at its broker, {config.queue_name!r}, and the same store, {named!r}"
        hint = "they share pauses, results and the keys of idempotency: give one a queue_name or its own store"
        yield id, ("queue_name",), problem, hint
