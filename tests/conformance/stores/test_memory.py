"""The store of memory keeps the contract."""

from __future__ import annotations

from pathlib import Path

from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.testing.conformance import ShiftedClock
from tasuki.testing.conformance.stores import StoreConformance


class TestMemoryStore(StoreConformance):
    def make_driver(self, place: Path, clock: ShiftedClock) -> MemoryDriver:
        return MemoryDriver("memory", clock=clock)

    def version(self) -> str:
        return "no broker"
