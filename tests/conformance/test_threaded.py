"""A driver on its own thread keeps the contract as it does without."""

from __future__ import annotations

from pathlib import Path

from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.toolkit.threaded import Threaded
from tasuki.testing.conformance import DriverConformance, ShiftedClock


class TestThreadedMemory(DriverConformance):
    def make_driver(self, place: Path, clock: ShiftedClock) -> Threaded:
        return Threaded(MemoryDriver("memory", clock=clock))
