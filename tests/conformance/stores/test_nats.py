"""The stores of the NATS driver keep the contract."""

from __future__ import annotations

from pathlib import Path

from tasuki.drivers.nats.driver import NATSDriver
from tasuki.testing.conformance import ShiftedClock
from tasuki.testing.conformance.stores import StoreConformance
from tests.conformance.test_nats import TestNATS as _Driver
from tests.support.brokers.nats import NATSBroker
from tests.support.brokers.place import Proxied


class TestNATSStore(Proxied, StoreConformance):
    shared_broker = NATSBroker
    takes_clock = False
    patience = 8.0

    def make_driver(self, place: Path, clock: ShiftedClock) -> NATSDriver:
        return _Driver().make_driver(place, clock)

    def version(self) -> str:
        return _Driver().version()

    async def restart(self, place: Path) -> None:
        NATSBroker.shared().restart()
