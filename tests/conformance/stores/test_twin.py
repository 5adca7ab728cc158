"""The store of a TestApp keeps the contract."""

from __future__ import annotations

from pathlib import Path

from tasuki.testing.conformance import ShiftedClock
from tasuki.testing.conformance.stores import StoreConformance
from tasuki.testing.twin.driver import TwinDriver
from tests.conformance.test_twin import twin


class TestTwinStore(StoreConformance):
    def make_driver(self, place: Path, clock: ShiftedClock) -> TwinDriver:
        return twin(clock)
