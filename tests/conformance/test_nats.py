"""The NATS driver keeps the contract."""

from __future__ import annotations

from pathlib import Path

from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.settings import NATSSettings
from tasuki.testing.conformance import DriverConformance, ShiftedClock
from tests.support.brokers.nats import NATSBroker
from tests.support.brokers.place import Proxied, address
from tests.support.brokers.versions import version_of
from tests.support.settings import parsed
from tests.unit.app.test_publish_path import awaited, cost, on_3_11


class TestNATS(Proxied, DriverConformance):
    shared_broker = NATSBroker
    takes_clock = False
    real_seconds = 1.5
    patience = 8.0

    def make_driver(self, place: Path, clock: ShiftedClock) -> NATSDriver:
        found = address(NATSBroker, place)
        return NATSDriver(
            "nats",
            parsed(
                NATSSettings,
                servers=f"nats://127.0.0.1:{found['port']}",
                stream_prefix=found["name"],
                connect_timeout=2.0,
                timeout=5.0,
            ),
            clock,
        )

    def version(self) -> str:
        server = NATSBroker.shared().binary("nats-server", "/usr/sbin/nats-server")
        return version_of("NATS", [server, "--version"])

    async def restart(self, place: Path) -> None:
        NATSBroker.shared().restart()


@on_3_11
def test_a_publish_costs_no_more_than_its_budget(tmp_path: Path) -> None:
    """Calls of one publish that is awaited; it takes 266, with uvloop 165."""
    with NATSBroker() as broker:
        assert cost(tmp_path, f"nats://127.0.0.1:{broker.port}", awaited) <= 280
