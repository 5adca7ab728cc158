"""The shop of examples/django, with its tables, for the tests of Django."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.support.brokers.postgres import Postgres
from tests.support.django_shop import Shop, postgres_variables

_names = (f"shop_{os.getpid()}_{number}" for number in itertools.count())


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with its tables in SQLite, to be copied."""
    shop = Shop(tmp_path_factory.mktemp("migrated") / "shop")
    shop.manage("migrate", "--verbosity", "0")
    return shop.folder


@pytest.fixture
def shop(tmp_path: Path, migrated: Path) -> Shop:
    return Shop(tmp_path / "shop", like=migrated)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a database with the tables of a shop, to be copied."""
    with made_database() as name:
        shop = Shop(tmp_path_factory.mktemp("template") / "shop", postgres_variables(Postgres.shared().port, name))
        shop.manage("migrate", "--verbosity", "0")
        yield name


@pytest.fixture
def database(template: str) -> Iterator[psycopg.Connection]:
    """A connection to a database that is made for one test."""
    with made_database(template) as name, psycopg.connect(address_of(name), autocommit=True) as connection:
        yield connection


def address_of(database: str) -> str:
    return f"postgresql://postgres@127.0.0.1:{Postgres.shared().port}/{database}"


@contextmanager
def made_database(template: str = "template1") -> Iterator[str]:
    name = next(_names)
    _administer(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield name
    _administer(f"DROP DATABASE {name} WITH (FORCE)")


def _administer(statement: str) -> None:
    """On a connection that ends with it: a server that other tests stop waits for its connections."""
    with psycopg.connect(address_of("postgres"), autocommit=True) as admin:
        admin.execute(statement)


@pytest.fixture
def postgres_shop(tmp_path: Path, database: psycopg.Connection) -> Shop:
    return Shop(tmp_path / "shop", postgres_variables(Postgres.shared().port, database.info.dbname))
