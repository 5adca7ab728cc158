"""A server that comes back with an earlier state, while a process of the later one lives on."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Move, Outgoing, QueueSpec, Received
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import ConflictError, StaleReceiptError
from tests.faults.postgres.load import eventually, message
from tests.support.brokers.postgres import Postgres, Standby
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

COUNT = 100
SPECS = (QueueSpec("q", lease=600.0), QueueSpec("k", lease=600.0, ordering="key"), QueueSpec("l", lease=600.0, fair=1))


class Set:
    """A server, whose data can be put back to an earlier state."""

    def __init__(self) -> None:
        self.server = Postgres()
        self.server.start()
        self._copy = self.server.folder / "copy"

    @property
    def url(self) -> str:
        return self.server.url

    def copy(self) -> None:
        """Keep the state of now."""
        self.server.kill()  # what it was asked for is in its log, and it starts from that
        _copied(self.server.data, self._copy)
        self.server.start()

    def put_back(self) -> None:
        """Let the server go on from the copy."""
        self.server.kill()
        shutil.rmtree(self.server.data)
        _copied(self._copy, self.server.data)
        self.server.start()

    def end(self) -> None:
        self.server.end()


class Pair:
    """A server and a standby that follows it without being waited for, and takes its place."""

    def __init__(self) -> None:
        self.primary = Postgres()
        self.primary.settings = ("wal_level=replica", "fsync=off", "max_connections=100")
        self.primary.start()
        self.standby = Standby(self.primary)
        self.standby.settings = self.primary.settings
        self.standby.start()

    @property
    def url(self) -> str:
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=primary"

    def copy(self) -> None:
        """The standby gets nothing after this."""
        self.standby.stop()

    def put_back(self) -> None:
        """Promote the standby."""
        self.primary.kill()
        (self.standby.data / "standby.signal").unlink()
        self.standby.start()

    def end(self) -> None:
        self.primary.end()
        self.standby.end()


def _copied(source: Path, target: Path) -> None:
    """As ``cp -a``: the files belong to the user that the server runs as."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".s.PGSQL.*", "postmaster.pid"))
    for path in (source, *source.rglob("*")):
        there = target / path.relative_to(source)
        if there.exists():
            shutil.chown(there, path.owner(), path.group())


@pytest.fixture(params=[Set, Pair], ids=["put back", "promoted"])
def servers(request: pytest.FixtureRequest) -> Iterator[Set | Pair]:
    servers: Set | Pair = request.param()
    yield servers
    servers.end()


@pytest.fixture
async def old(servers: Set | Pair) -> AsyncIterator[PostgresDriver]:
    """The process that lives on."""
    async for driver in _opened(servers):
        yield driver


async def _opened(servers: Set | Pair) -> AsyncIterator[PostgresDriver]:
    driver = PostgresDriver("postgres", parsed(PostgresSettings, url=servers.url))
    for spec in SPECS:
        await driver.declare(spec)
    await driver.open()
    yield driver
    await driver.close()


def _numbers(taken: list[Received]) -> set[int]:
    return {item.receipt[0] for item in taken}


async def _took(driver: PostgresDriver, queue: str, name: str) -> list[Received]:
    batch = [Outgoing(f"{name}{number}", b"", {}, key=str(number), lane=str(number)) for number in range(COUNT)]
    assert not any(await driver.publish(queue, batch))
    taken: list[Received] = []
    while len(taken) < COUNT:
        taken += await driver.receive(queue, COUNT, 5.0)
    return taken


@pytest.mark.parametrize("queue", [spec.name for spec in SPECS])
async def test_receipts_from_before_a_restore_settle_no_later_message(
    servers: Set | Pair, old: PostgresDriver, queue: str
) -> None:
    servers.copy()
    before = await eventually(lambda: _took(old, queue, "old"), "the server again")
    servers.put_back()
    async for new in _opened(servers):
        after = await _took(new, queue, "new")
        assert len(_numbers(before) & _numbers(after)) > COUNT / 2  # so a receipt of numbers alone would fit
        receipts = [item.receipt for item in before]
        await eventually(lambda: old.depth(queue), "a connection to the server that goes on")
        assert list(await old.start(queue, receipts)) == receipts
        assert list(await old.extend(queue, receipts, 600.0)) == receipts
        with pytest.raises(StaleReceiptError):  # for all of them
            await old.move(queue, [Move(receipt, "q", (message(),)) for receipt in receipts])
        for receipt in receipts[:3]:
            connection = await _connected(servers)
            with pytest.raises(StaleReceiptError):
                async with connection.transaction():
                    await old.settle_within(connection, queue, [Ack(receipt)])
            await connection.close()
        assert list(await old.settle(queue, [Ack(receipt) for receipt in receipts])) == receipts
        assert (await new.depth(queue)).in_flight == COUNT
        assert list(await new.settle(queue, [Ack(item.receipt) for item in after])) == []


async def _connected(servers: Set | Pair) -> asyncpg.Connection:
    return await asyncpg.connect(servers.url)


async def test_versions_of_a_store_from_before_a_restore_fit_no_later_value(
    servers: Set | Pair, old: PostgresDriver
) -> None:
    mine = old.store("s")
    await mine.open()
    await mine.put("kept", b"1")
    servers.copy()

    async def written() -> list[int]:
        return [await mine.put(f"key{number}", b"old") for number in range(COUNT)]

    before = await eventually(written, "the server again")
    servers.put_back()
    async for new in _opened(servers):
        theirs = new.store("s")
        await theirs.open()
        after = [await theirs.put(f"key{number}", b"new") for number in range(COUNT)]
        assert min(after) > max(before)

        async def refused() -> bool:
            for number, version in enumerate(before):
                with pytest.raises(ConflictError):
                    await mine.put(f"key{number}", b"mine", version=version)
                with pytest.raises(ConflictError):
                    await mine.delete(f"key{number}", version=version)
            return True

        await eventually(refused, "a connection to the server that goes on")
        entries = (await theirs.list("key", limit=COUNT)).entries
        assert {entry.value for entry in entries} == {b"new"}
        assert len(entries) == COUNT


async def test_the_end_of_a_deletion_from_before_a_restore_leaves_a_later_queue_alone(
    servers: Set | Pair, old: PostgresDriver
) -> None:
    """The second statement of a deletion removes what came meanwhile, by the number of the queue."""
    servers.copy()

    async def numbered() -> int:
        await old.declare(QueueSpec("old"))
        return int(await _one(servers, "SELECT id FROM tasuki.queues WHERE name = 'old'"))

    number = await eventually(numbered, "the server again")
    servers.put_back()
    async for new in _opened(servers):
        while await _one(servers, "SELECT max(id) FROM tasuki.queues") < number:
            await new.declare(QueueSpec(f"new{number}"))
            number_of_new = await _one(servers, "SELECT max(id) FROM tasuki.queues")
            await new.publish(f"new{number}", [message()])
        assert number_of_new >= number
        await _one(servers, f"SELECT tasuki.delete_rest({number_of_new})")
        assert (await new.depth(f"new{number}")).ready == 1


async def _one(servers: Set | Pair, sql: str) -> int:
    connection = await _connected(servers)
    try:
        value: int = await connection.fetchval(sql)
        return value
    finally:
        await connection.close()
