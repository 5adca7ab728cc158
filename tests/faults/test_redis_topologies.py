"""Redis as more than one server: a failover by a Sentinel, nodes of a cluster that fail, slots that move."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis import RedisDriver
from tasuki.drivers.redis.scripts import place
from tasuki.errors import BrokerUnavailableError, UnsupportedError
from tests.faults.redis_rig import SECONDS, Work, driver_at, messages, take
from tests.support.brokers.redis import MASTER, Cluster, Redis, Sentinel

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

QUEUES = ("q", "r", "s", "t")
"""Of the names of the cluster's test; each node has at least one."""


@pytest.fixture
def sentinel() -> Iterator[Sentinel]:
    broker = Sentinel()
    broker.start()
    yield broker
    for server in (broker, broker.primary, broker.replica):
        server.end()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    broker = Cluster()
    broker.start()
    yield broker
    for node in broker.nodes:
        node.end()


async def test_a_failover_is_followed(sentinel: Sentinel) -> None:
    fields = {"addrs": ["127.0.0.1:1", f"127.0.0.1:{sentinel.port}"], "master_name": MASTER, "read_timeout": 2.0}
    spec = QueueSpec("q", lease=2.0)
    async with driver_at(0, spec=spec, **fields) as publisher, driver_at(0, spec=spec, **fields) as consumer:
        async with Work(publisher, consumer) as work:
            await work.goes_on()
            await asyncio.to_thread(sentinel.primary.kill)
            await work.goes_on()
            assert "role:master" in sentinel.replica.ask("INFO", "replication")
            after = len(work.confirmed)
            await work.goes_on()
            # The old one comes back: it must not be taken for the master.
            await asyncio.to_thread(sentinel.primary.start)
            await work.goes_on()
        # Only the end of what the old master had confirmed may be lost: the replica had not got it yet.
        assert not set(work.confirmed[after:]) - set(work.delivered)
        assert work.errors


async def test_a_master_that_no_sentinel_knows(sentinel: Sentinel) -> None:
    driver = RedisDriver("test", addrs=f"127.0.0.1:{sentinel.port}", master_name="nobody")
    with pytest.raises(BrokerUnavailableError, match="nobody"):
        await driver.open()


async def test_of_several_servers_the_master_is_found(sentinel: Sentinel) -> None:
    addrs = [f"127.0.0.1:{port}" for port in (1, sentinel.replica.port, sentinel.primary.port)]
    async with driver_at(0, addrs=addrs) as driver:
        assert not await driver.publish("q", messages("a"))


async def test_nodes_that_die_under_load_lose_nothing(cluster: Cluster) -> None:
    fields = {"addrs": f"127.0.0.1:{cluster.port}", "is_cluster_mode": True, "read_timeout": 2.0}
    async with driver_at(0, **fields) as publisher, driver_at(0, **fields) as consumer:
        for name in QUEUES:
            for driver in (publisher, consumer):
                await driver.declare(QueueSpec(name, lease=2.0))
        assert {place("tasuki", QueueSpec(name)).slot * 3 // 16384 for name in QUEUES} == {0, 1, 2}
        async with Work(publisher, consumer, QUEUES) as work:
            for node in cluster.nodes:
                await work.goes_on(100)
                await asyncio.to_thread(Redis.restart, node)
            await work.goes_on(100)
            await work.catches_up()
        assert not work.lost()


async def test_a_slot_that_moved_is_followed(cluster: Cluster) -> None:
    spec = QueueSpec("moving")
    slot = place("tasuki", spec).slot
    owner = next(node for number, node in enumerate(cluster.nodes) if slot * 3 // 16384 == number)
    target = cluster.nodes[cluster.nodes.index(owner) - 1]
    id = target.ask("CLUSTER", "MYID").splitlines()[1]
    async with driver_at(0, addrs=f"127.0.0.1:{cluster.port}", is_cluster_mode=True) as driver:
        for node in (target, owner, *cluster.nodes):
            assert node.ask("CLUSTER", "SETSLOT", str(slot), "NODE", id) == "+OK"
        await driver.declare(spec)
        waiting = asyncio.create_task(driver.receive("moving", 1, SECONDS))
        assert not await driver.publish("moving", messages("a"))
        assert [item.id for item in await waiting] == ["a"]
        assert target.ask("EXISTS", place("tasuki", spec).keys[0].decode()) == ":1"


async def test_a_slot_on_its_way_is_followed_or_retryable(cluster: Cluster) -> None:
    spec = QueueSpec("q", dedup_window=60.0)
    slot = place("tasuki", spec).slot
    owner = next(node for number, node in enumerate(cluster.nodes) if slot * 3 // 16384 == number)
    target = cluster.nodes[cluster.nodes.index(owner) - 1]
    source_id, target_id = (node.ask("CLUSTER", "MYID").splitlines()[1] for node in (owner, target))
    async with driver_at(0, spec=spec, addrs=f"127.0.0.1:{cluster.port}", is_cluster_mode=True) as driver:
        assert not await driver.publish("q", messages("a"))
        target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", source_id)
        owner.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", target_id)
        keys = place("tasuki", spec).keys
        for key in keys:
            owner.ask("MIGRATE", "127.0.0.1", str(target.port), key.decode(), "0", "5000")
            (result,) = await asyncio.gather(driver.publish("q", messages("b")), return_exceptions=True)
            if isinstance(result, BaseException):
                assert isinstance(result, BrokerUnavailableError)
                assert result.outcome == "rejected"
        for node in (target, owner, *cluster.nodes):
            node.ask("CLUSTER", "SETSLOT", str(slot), "NODE", target_id)
        await driver.publish("q", messages("b"))
        assert sorted(item.id for item in await take(driver, 2)) == ["a", "b"]


async def test_a_cluster_must_be_called_one(cluster: Cluster) -> None:
    driver = RedisDriver("test", addrs=[f"127.0.0.1:{node.port}" for node in cluster.nodes])
    await driver.open()
    try:
        specs = [QueueSpec(name) for name in QUEUES]
        results = await asyncio.gather(*map(driver.declare, specs), return_exceptions=True)
        refused = [result for result in results if result is not None]
        assert refused
        assert all(isinstance(error, UnsupportedError) and "is_cluster_mode" in str(error) for error in refused)
    finally:
        await driver.close()
