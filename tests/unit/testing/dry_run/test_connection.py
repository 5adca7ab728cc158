"""Connections of a dry run's transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tasuki.testing.dry_run.connection import NotedConnection, rolled_back

pytestmark = pytest.mark.anyio


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE rows (n)")
    yield connection
    connection.close()


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM rows").fetchone()[0])


@pytest.mark.parametrize("has_failed", [False, True])
async def test_a_connection_is_rolled_back(database: sqlite3.Connection, has_failed: bool) -> None:
    try:
        async with rolled_back(database, print) as connection:
            connection.execute("INSERT INTO rows VALUES (1)")
            assert count(connection) == 1
            if has_failed:
                raise LookupError
    except LookupError:
        assert has_failed
    assert count(database) == 0


async def test_a_block_of_the_caller_s_own_is_left_as_if_it_had_failed(database: sqlite3.Connection) -> None:
    ended = []

    @contextmanager
    def begin() -> Iterator[sqlite3.Connection]:
        database.execute("BEGIN")
        try:
            yield database
        except BaseException:
            database.rollback()
            ended.append("rollback")
            raise
        database.commit()

    async with rolled_back(begin, print) as connection:
        connection.execute("INSERT INTO rows VALUES (1)")
    assert (count(database), ended) == (0, ["rollback"])
    with pytest.raises(LookupError):
        async with rolled_back(begin, print):
            raise LookupError


class Asyncpg:
    def __init__(self) -> None:
        self.said: list[str] = []

    def is_in_transaction(self) -> bool:
        return False

    def transaction(self) -> Asyncpg:
        return self

    async def start(self) -> None:
        self.said.append("start")

    async def rollback(self) -> None:
        self.said.append("rollback")


class Psycopg:
    autocommit = True

    def __init__(self) -> None:
        self.said: list[str] = []

    async def execute(self, sql: str) -> None:
        self.said.append(sql)


async def test_connections_that_begin_nothing_by_themselves() -> None:
    for connection, said in ((Asyncpg(), ["start", "rollback"]), (Psycopg(), ["BEGIN", "ROLLBACK"])):
        async with rolled_back(connection, print):
            pass
        assert connection.said == said
    async with rolled_back(object(), print):
        pass


async def test_without_a_connection_the_sql_is_noted_and_finds_nothing() -> None:
    noted: list[str] = []
    async with rolled_back(None, noted.append) as connection:
        assert isinstance(connection, NotedConnection)
        assert connection.execute("a", (1,)).fetchone() is None
        assert (await connection.execute("b")).fetchall() == []
        assert list(connection.cursor().execute("c")) == []
        assert (await connection.fetch("d"), await connection.fetchrow("e"), await connection.fetchval("f")) == (
            [],
            None,
            None,
        )
        with pytest.raises(AttributeError, match="has no connection to the database of the queue, and so no copy"):
            _ = connection.copy
        with pytest.raises(AttributeError):
            _ = connection.__fspath__
    assert noted == ["a", "b", "c", "d", "e", "f"]
