"""Temporary queues at PostgreSQL: they stay while their process lives, and go after its death."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Outgoing, QueueSpec
from tasuki.drivers.postgres import session, waiting
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.session import Temporary
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import QueueNotFoundError
from tests.support.asker import QUEUE, asker
from tests.support.brokers.postgres import Pgbouncer, Postgres
from tests.support.brokers.rig import fresh
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

PATIENCE = 60.0
KEPT = 5.0
OURS = QueueSpec("reply.2", temporary=True)
CONSTANTS = {f"{session.__name__}.KEPT": KEPT, f"{waiting.__name__}.BEAT": 0.2}


@pytest.fixture(params=[Postgres, Pgbouncer], ids=["direct", "pooled"])
def url(request: pytest.FixtureRequest) -> str:
    return f"postgresql://postgres@127.0.0.1:{request.param.shared().port}/postgres"


@pytest.fixture
def schema(monkeypatch: pytest.MonkeyPatch) -> str:
    """With a shorter time for all drivers of this process."""
    monkeypatch.setattr(session, "KEPT", KEPT)
    monkeypatch.setattr(waiting, "BEAT", 0.2)
    return fresh("temporary")


@asynccontextmanager
async def driver_at(url: str, schema: str, *specs: QueueSpec) -> AsyncIterator[PostgresDriver]:
    driver = PostgresDriver("other", parsed(PostgresSettings, url=url, schema=schema))
    await driver.open()
    for spec in specs:
        await driver.declare(spec)
    try:
        yield driver
    finally:
        await driver.close()


async def ask(schema: str, sql: str) -> list[str]:
    """The first column, straight from the server."""
    connection = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{Postgres.shared().port}/postgres")
    try:
        return [row[0] for row in await connection.fetch(sql.format(schema))]
    finally:
        await connection.close()


async def until_gone(schema: str, name: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while name in await ask(schema, "SELECT name FROM {}.queues"):
            await asyncio.sleep(0.1)


async def until_kept(schema: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await ask(schema, "SELECT 1 FROM {}.queues WHERE used_at > clock_timestamp() - interval '3 seconds'"):
            await asyncio.sleep(0.1)


async def test_a_killed_asker_leaves_no_queue(url: str, schema: str) -> None:
    async with (
        driver_at(url, schema, QueueSpec("q")) as answerer,
        driver_at(url, schema, OURS) as living,
        driver_at(url, schema),
    ):
        with asker(PostgresDriver, {"url": url, "schema": schema}, CONSTANTS) as process:
            assert await asyncio.to_thread(process.line) == "there"
            await answerer.inspect(QUEUE)
            await answerer.publish(QUEUE.name, [Outgoing("r", b"reply", {})])
            assert await asyncio.to_thread(process.line) == "reply"
            await answerer.publish(QUEUE.name, [Outgoing("later", b"late", {}, delay=1000.0)])
            await answerer.publish("q", [Outgoing("stays", b"", {})])
            process.kill()
        await until_gone(schema, QUEUE.name)
        assert await ask(schema, "SELECT id FROM {}.messages") == ["stays"]
        # Longer than it is kept without a sign, and looked at by three processes.
        assert sorted(await ask(schema, "SELECT name FROM {}.queues")) == ["q", OURS.name]
        await living.publish(OURS.name, [Outgoing("r", b"", {})])
        (got,) = await living.receive(OURS.name, 1, PATIENCE)
        await living.settle(OURS.name, [Ack(got.receipt)])
        with pytest.raises(QueueNotFoundError):
            await answerer.publish(QUEUE.name, [Outgoing("last", b"", {})])


async def test_who_comes_back_after_its_queue_went_declares_it_again(url: str, schema: str) -> None:
    async with driver_at(url, schema, QUEUE) as paused, driver_at(url, schema):
        # As if it had been stopped for long: no other process knows it, and its queue is removed.
        await ask(schema, "DELETE FROM {}.holders")
        await ask(schema, "SELECT {}.delete_queue('reply.1')")
        with pytest.raises(QueueNotFoundError):
            await paused.receive(QUEUE.name, 1, PATIENCE)
        await paused.declare(QUEUE)
        await ask(schema, "UPDATE {}.queues SET used_at = used_at - interval '4 seconds'")
        await until_kept(schema)
        await paused.publish(QUEUE.name, [Outgoing("r", b"", {})])
        assert [got.id for got in await paused.receive(QUEUE.name, 1, PATIENCE)] == ["r"]


async def test_a_receive_while_the_queue_is_declared_again_gives_a_message_or_that_there_is_no_queue(
    url: str, schema: str
) -> None:
    async with driver_at(url, schema, QUEUE) as driver:
        await driver.delete(QUEUE.name)
        declaring = asyncio.create_task(driver.declare(QUEUE))
        await asyncio.sleep(0)  # it is under way
        with suppress(QueueNotFoundError):
            await driver.receive(QUEUE.name, 1, 0.1)
        await declaring
        await driver.publish(QUEUE.name, [Outgoing("r", b"", {})])
        assert [got.id for got in await driver.receive(QUEUE.name, 1, PATIENCE)] == ["r"]


async def test_who_cannot_listen_keeps_its_queue(url: str, schema: str) -> None:
    """The address for the connection that listens leads nowhere; the verbs work all the same."""
    driver = PostgresDriver(
        "deaf",
        parsed(PostgresSettings, url=url, schema=schema, listen_url="postgresql://postgres@127.0.0.1:1/postgres"),
    )
    await driver.open()
    try:
        await driver.declare(QUEUE)
        await ask(schema, "UPDATE {}.queues SET used_at = used_at - interval '4 seconds'")
        await until_kept(schema)
    finally:
        await driver.close()


async def test_one_that_is_declared_for_good_stays(url: str, schema: str) -> None:
    async with driver_at(url, schema, QUEUE, OURS) as driver:
        await driver.declare(QueueSpec(QUEUE.name))
        await driver.undeclare(OURS.name)
        await ask(schema, "UPDATE {}.queues SET used_at = '-infinity'")
        await until_gone(schema, OURS.name)
        assert await ask(schema, "SELECT name FROM {}.queues") == [QUEUE.name]


async def test_several_sweep_and_declare_at_once(url: str, schema: str) -> None:
    """Each declaration ends well, and the last one wins."""
    specs = [QueueSpec(f"reply.{number}", temporary=True) for number in range(20)]
    async with driver_at(url, schema) as first, driver_at(url, schema) as second:
        for _ in range(5):
            await asyncio.gather(*(driver.declare(spec) for driver in (first, second) for spec in specs))
            await ask(schema, "UPDATE {}.queues SET used_at = '-infinity'")
            await asyncio.gather(
                *(sweep(driver, [spec.name for spec in specs]) for driver in (first, second)),
                *(driver.declare(spec) for driver in (first, second) for spec in specs),
            )
        found = set(await ask(schema, "SELECT name FROM {}.queues"))
        assert found == {spec.name for spec in specs}, "who declares comes after whoever sweeps"


async def sweep(driver: PostgresDriver, names: list[str]) -> None:
    opened = driver._guard.current
    assert opened is not None
    for name in names:
        await opened.ask(name, session.SWEEP, name, KEPT)


async def test_an_outage_is_no_reason_to_sweep() -> None:
    """A queue found unused once may have had no server to speak to; it goes only if it is unused a while later."""
    swept: list[str] = []

    async def answer(sql: str, *arguments: object) -> list[list[str]]:
        if sql == session.SWEEP:
            swept.append(str(arguments[0]))
        return []

    looking = Temporary()
    await looking.beat(answer, [], ["a", "b"])
    await looking.beat(answer, [], ["b"])
    assert swept == [], "not looked at again so soon"
    looking._looked_at = None
    await looking.beat(answer, [], ["b"])
    assert swept == ["b"]
