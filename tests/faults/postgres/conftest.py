"""A server of its own, a proxy before it, and drivers in a schema of each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.testing.proxy import Proxy
from tests.faults.postgres.load import address
from tests.support.brokers.postgres import Postgres

_names = (f"faults_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    server = Postgres()
    server.start()
    yield server
    server.end()


@pytest.fixture
def proxy(server: Postgres) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def schema() -> str:
    return next(_names)


@pytest.fixture
async def make(proxy: Proxy, schema: str) -> AsyncIterator[Callable[..., Awaitable[PostgresDriver]]]:
    """Open drivers behind the proxy with the queue ``q``; closed at the end."""
    drivers: list[PostgresDriver] = []

    async def make(**options: Any) -> PostgresDriver:
        spec = options.pop("spec", QueueSpec("q", lease=5.0))
        fields = {"url": address(proxy.port), "schema": schema, "timeout": 2.0, **options}
        driver = PostgresDriver("postgres", PostgresSettings(**fields))
        drivers.append(driver)
        await driver.declare(spec)
        await driver.open()
        return driver

    yield make
    proxy.serve()
    for driver in drivers:
        await driver.close()


@pytest.fixture
async def sql(server: Postgres) -> AsyncIterator[asyncpg.Connection]:
    """A connection of an administrator, straight to the server."""
    connection = await asyncpg.connect(address(server.port))
    yield connection
    await connection.close()
