"""Checked configurations of stores → the objects that handlers use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tasuki.clock import Clock
from tasuki.contracts.state.store import Store
from tasuki.drivers.memory.store import MemoryStore, Shelf
from tasuki.drivers.toolkit.guard import Guard
from tasuki.handlers.store import HandlerStore
from tasuki.kinds.entries.store import DriverStoreConfig, MemoryStoreConfig

Opened = Callable[[], Awaitable[Store]]

_SIZE: int = MemoryStoreConfig.model_fields["max_size"].default
_BYTES: int = MemoryStoreConfig.model_fields["max_bytes"].default
_BACKENDS = {"sqlite": "sql", "postgres": "sql"}
"""What ``info`` calls a backend, where that is not the driver's short name; the words of Wippy."""


def memory_store(id: str, *, max_size: int = 0, max_bytes: int = _BYTES, clock: Clock | None = None) -> HandlerStore:
    """A store in this process, also for tests of handlers; see ``store.memory`` for its limits."""
    shelf = Shelf(max_size or _SIZE, max_bytes, max_value_bytes=max_bytes)
    guard: Guard[bool] = Guard("memory")
    store = MemoryStore(id, guard, shelf, clock)

    async def opened() -> Store:
        if guard.current is None:  # also in a forked child
            guard.opened(True)
            await store.open()
        return store

    return HandlerStore(id, opened, "memory")


def driver_store(id: str, config: DriverStoreConfig, driver: str, find: Callable[[str, str], Opened]) -> HandlerStore:
    """A store at a broker. ``driver``: its short name; ``find``: how to open a store, by driver's id and name."""
    return HandlerStore(id, find(config.driver, config.store_name or id), _BACKENDS.get(driver, driver))
