"""The driver of a TestApp keeps the contract, so that a test sees what a worker does."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from tasuki.testing.clock import FakeClock
from tasuki.testing.conformance import DriverConformance, ShiftedClock
from tasuki.testing.twin.driver import Faults, TwinDriver
from tasuki.testing.twin.reading.journal import Journal


def twin(clock: ShiftedClock) -> TwinDriver:
    """The driver of a TestApp without faults."""
    return TwinDriver("twin", Faults(cast("FakeClock", clock), Journal()))


class TestTwin(DriverConformance):
    def make_driver(self, place: Path, clock: ShiftedClock) -> TwinDriver:
        return twin(clock)
