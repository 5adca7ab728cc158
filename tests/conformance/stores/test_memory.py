"""The store of memory keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tasuki.contracts.store import Store
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.memory.store import MemoryStore
from tasuki.testing.conformance import ShiftedClock
from tasuki.testing.conformance.stores import StoreConformance


class TestMemoryStore(StoreConformance):
    changes = 20_000

    def make_driver(self, place: Path, clock: ShiftedClock) -> MemoryDriver:
        return MemoryDriver("memory", clock=clock)

    def version(self) -> str:
        return "no broker"

    @asynccontextmanager
    async def full(self, store: Store) -> AsyncIterator[None]:
        """There is room for no more entries."""
        assert isinstance(store, MemoryStore)
        most, store._shelf.max_entries = store._shelf.max_entries, len(store._shelf.items)
        try:
            yield
        finally:
            store._shelf.max_entries = most
