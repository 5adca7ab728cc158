"""A store whose stream and consumers are changed underneath, what it leaves at the server, and a lost leader."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import pytest

from tasuki.contracts.state.store import CURRENT, Change, Store
from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.protocol.api import Answer, demand
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.settings import NATSSettings
from tasuki.drivers.nats.state import records, stream, watch_connection
from tasuki.errors import DriverError, StoreLimitError
from tests.faults.nats.site import PATIENCE, Site, a_site
from tests.support.brokers.nats import NATSNode, cluster
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(300)]

STREAM = "tasuki+=store+state"
T = TypeVar("T")


async def opened(driver: NATSDriver) -> Store:
    store = driver.store("state")
    await store.open()
    return store


async def back(act: Callable[[], Awaitable[T]]) -> T:
    """What it returns, as soon as the servers answer again."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return await act()
        except DriverError:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


async def subjects(site: Site) -> set[str]:
    answer = await site.ask(f"STREAM.INFO.{STREAM}", subjects_filter=">")
    return set(answer["state"].get("subjects") or ())


@pytest.fixture
def untidy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before NATS 2.11: the server removes nothing by itself. Writers look often, and removals are old at once."""
    monkeypatch.setattr(stream, "SWEPT_EVERY", 8)
    monkeypatch.setattr(stream, "MARKED", -PATIENCE)
    monkeypatch.setattr(records, "MARKED", 0.0)
    begin = stream.StoreStream.begin

    async def without_ttl(self: stream.StoreStream, connection: Any) -> None:
        await begin(self, connection)
        self._removes_itself = False

    monkeypatch.setattr(stream.StoreStream, "begin", without_ttl)


@pytest.mark.usefixtures("untidy")
async def test_writers_remove_what_counts_no_longer(site: Site) -> None:
    store = await opened(await site.driver(is_direct=True))
    await store.put("stays", b"")
    await store.hold("place", "holder", places=1, lease=0.01)
    for number in range(3):
        await store.put(f"ttl-{number}", b"", ttl=0.01)
        await store.put(f"removed-{number}", b"")
        await store.delete(f"removed-{number}")
    end = time.monotonic() + PATIENCE
    while await subjects(site) != {"tasuki.s.state.e.stays"}:
        assert time.monotonic() < end
        await store.put("stays", b"")


async def test_a_list_removes_the_expired_entries_that_it_meets(site: Site) -> None:
    store = await opened(await site.driver(is_direct=True))
    await store.put("stays", b"")
    await store.put("ttl", b"", ttl=0.01)
    end = time.monotonic() + PATIENCE
    while "tasuki.s.state.e.ttl" in await subjects(site):
        assert time.monotonic() < end
        assert [entry.key for entry in (await store.list()).entries][:1] == ["stays"]


async def test_a_stream_that_was_removed_is_made_again(site: Site) -> None:
    store = await opened(await site.driver(is_direct=True))
    for verb in (
        lambda: store.put("key", b""),
        lambda: store.get("key"),
        store.list,
        lambda: store.take("key", 1, rate=1, burst=1),
        store.time,
    ):
        await site.ask(f"STREAM.DELETE.{STREAM}")
        await verb()
        await store.put("key", b"")


async def test_a_watch_whose_consumer_was_removed_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_connection, "BEAT", 0.2)
    monkeypatch.setattr(watch_connection, "SILENCE", 0.6)
    store = await opened(await site.driver(is_direct=True))
    await store.put("a/key", b"old")
    async with aclosing(store.watch("a/")) as changes:  # type: ignore[type-var]  # watches are generators
        assert (await anext(changes)).key == "a/key"  # type: ignore[union-attr]
        assert await anext(changes) is CURRENT
        names = (await site.ask(f"CONSUMER.NAMES.{STREAM}"))["consumers"]
        assert len(names) == 1
        await site.ask(f"CONSUMER.DELETE.{STREAM}.{names[0]}")
        version = await store.put("a/key", b"new")
        assert await anext(changes) == Change("a/key", b"new", version)


async def test_a_watch_that_has_ended_leaves_no_consumer(site: Site) -> None:
    store = await opened(await site.driver(is_direct=True))
    async with aclosing(store.watch()) as changes:  # type: ignore[type-var]
        assert await anext(changes) is CURRENT
    end = time.monotonic() + PATIENCE
    while (await site.ask(f"CONSUMER.NAMES.{STREAM}"))["total"]:
        assert time.monotonic() < end


async def test_a_loser_of_a_race_decides_again(site: Site) -> None:
    store = await opened(await site.driver(is_direct=True))
    other = await opened(await site.driver(is_direct=True))
    asked = [each.take("key", 1, rate=0.001, burst=20) for _ in range(15) for each in (store, other)]
    assert sum(grant.tokens for grant in await asyncio.gather(*asked)) == 20


async def test_a_value_above_max_payload_is_refused_before_it_is_sent() -> None:
    async with a_site(["max_payload: 64KB"]) as site:
        store = await opened(await site.driver(is_direct=True))
        largest = store.facts.max_value_bytes
        assert 60_000 < largest < 2**16
        version = await store.put("key", bytes(largest), ttl=60.0)
        await store.put("key", bytes(largest), ttl=60.0, version=version)
        with pytest.raises(StoreLimitError):
            await store.put("key", bytes(largest + 1))


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sequence[NATSNode]]:
    made = cluster(3)
    yield made
    for node in made:
        node.end()


async def test_a_store_and_its_watch_survive_the_loss_of_a_leader(nodes: Sequence[NATSNode]) -> None:
    settings = {"replicas": 3, "timeout": 3.0, "connect_timeout": 3.0}
    driver = NATSDriver("app:nats", parsed(NATSSettings, servers=[node.url for node in nodes], **settings))
    await back(driver.open)
    try:
        store = await back(lambda: opened(driver))
        await store.put("key", b"old")
        async with aclosing(store.watch()) as changes:  # type: ignore[type-var]
            assert (await anext(changes)).value == b"old"
            assert await anext(changes) is CURRENT
            for value in (b"first", b"second"):
                leader = (await back(lambda: _info(driver)))["cluster"]["leader"]
                node = next(node for node in nodes if node.server_name == leader)
                await asyncio.to_thread(node.kill)
                version = await back(lambda: store.put("key", value))  # noqa: B023
                while (await anext(changes)).version < version:  # type: ignore[union-attr]
                    pass
                found = await back(lambda: store.get("key"))
                assert found is not None
                assert (found.value, found.version) == (value, version)
                await asyncio.to_thread(node.start)
                await back(lambda: store.put("other", b""))
    finally:
        await driver.close()


async def _info(driver: NATSDriver) -> Answer:
    async def info(connection: Connection) -> Answer:
        (answer,) = await demand(connection, "", (f"STREAM.INFO.{STREAM}", {}))
        return answer

    return await driver._connections.reach(info)
