"""The PostgreSQL driver keeps the contract, straight to the server and through a transaction pooler."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.testing.conformance import DriverConformance, ShiftedClock
from tests.support.brokers.broker import Broker
from tests.support.brokers.place import Proxied, address
from tests.support.brokers.postgres import Pgbouncer, Postgres
from tests.support.brokers.versions import version_of
from tests.support.settings import parsed


class TestPostgres(Proxied, DriverConformance):
    takes_clock = False
    real_seconds = 1.5
    patience = 8.0
    shared_broker: ClassVar[type[Broker]] = Postgres

    def make_driver(self, place: Path, clock: ShiftedClock) -> PostgresDriver:
        there = address(self.shared_broker, place)
        url = f"postgresql://postgres@127.0.0.1:{there['port']}/postgres"
        return PostgresDriver("postgres", parsed(PostgresSettings, url=url, schema=there["name"].lower()[:40]), clock)

    def version(self) -> str:
        server = self.shared_broker.shared().binary("postgres", "/usr/lib/postgresql/*/bin/postgres")
        return version_of("PostgreSQL", [server, "--version"]) + (
            " through PgBouncer" * (self.shared_broker is Pgbouncer)
        )

    async def restart(self, place: Path) -> None:
        self.shared_broker.shared().restart()  # here: it ends with the thread that started it


@pytest.mark.variant
class TestPgbouncer(TestPostgres):
    shared_broker: ClassVar[type[Broker]] = Pgbouncer
    hides_deaths = True

    # Its connections outlast the servers behind it.
    save, restore = DriverConformance.save, DriverConformance.restore
