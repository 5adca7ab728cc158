"""The store of PostgreSQL keeps the contract, straight to the server and through a transaction pooler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import asyncpg
import pytest

from tasuki.contracts.state.store import Store
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.drivers.postgres.state.store import PostgresStore
from tasuki.testing.conformance import ShiftedClock
from tasuki.testing.conformance.stores import StoreConformance
from tests.conformance import test_postgres
from tests.support.brokers.broker import Broker
from tests.support.brokers.place import Proxied, address
from tests.support.brokers.postgres import Pgbouncer, Postgres
from tests.support.settings import parsed


class TestPostgresStore(Proxied, StoreConformance):
    takes_clock = False
    real_seconds = 1.5
    patience = 8.0
    shared_broker: ClassVar[type[Broker]] = Postgres

    def make_driver(self, place: Path, clock: ShiftedClock) -> PostgresDriver:
        there = address(self.shared_broker, place)
        url = f"postgresql://postgres@127.0.0.1:{there['port']}/postgres"
        return PostgresDriver("postgres", parsed(PostgresSettings, url=url, schema=there["name"].lower()[:40]), clock)

    async def restart(self, place: Path) -> None:
        self.shared_broker.shared().restart()  # here: it ends with the thread that started it

    def version(self) -> str:
        return test_postgres.TestPostgres.version(self)  # type: ignore[arg-type]  # it knows the server by the same attribute

    @asynccontextmanager
    async def full(self, store: Store) -> AsyncIterator[None]:
        """The server says that its disk is full whenever a row is added."""
        assert isinstance(store, PostgresStore)
        schema = store._open_session().schema
        connection = await asyncpg.connect(Postgres.shared().url)
        await connection.execute(
            f"CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE EXCEPTION USING ERRCODE = ''53100'', MESSAGE = ''no space left''; END'; "
            f"CREATE TRIGGER full_disk BEFORE INSERT ON {schema}.store_entries EXECUTE FUNCTION {schema}.refuse()"
        )
        yield
        await connection.execute(f"DROP FUNCTION {schema}.refuse() CASCADE")
        await connection.close()


@pytest.mark.variant
class TestPgbouncerStore(TestPostgresStore):
    shared_broker: ClassVar[type[Broker]] = Pgbouncer

    # Its connections outlast the servers behind it.
    save, restore = StoreConformance.save, StoreConformance.restore
