"""Redis as more than one server: a failover by a Sentinel, nodes of a cluster that fail, slots that move."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis.connecting import sentinels
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.scripts import place
from tasuki.drivers.redis.settings import RedisSettings
from tasuki.errors import BrokerUnavailableError, UnsupportedError
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import MASTER, Cluster, Redis, ReplicatedCluster, ScriptedSentinel, Sentinel, Valkey
from tests.support.brokers.rig import SECONDS, Work, messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

QUEUES = ("q", "r", "s", "t")
"""Of the names of the cluster's test; each node has at least one."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as broker:
        yield broker


async def test_a_failover_is_followed(sentinel: Sentinel) -> None:
    fields: dict[str, Any] = {
        "addrs": ["127.0.0.1:1", f"127.0.0.1:{sentinel.port}"],
        "master_name": MASTER,
        "read_timeout": 2.0,
    }
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


async def test_a_frozen_primary_is_left_as_soon_as_another_server_is_the_master(sentinel: Sentinel) -> None:
    # Nothing but the news of the Sentinel ends the wait for an answer.
    fields: dict[str, Any] = {
        "addrs": f"127.0.0.1:{sentinel.port}",
        "master_name": MASTER,
        "read_timeout": 10 * SECONDS,
    }
    spec = QueueSpec("q", lease=2.0)
    async with driver_at(0, spec=spec, **fields) as publisher, driver_at(0, spec=spec, **fields) as consumer:
        async with Work(publisher, consumer) as work:
            await work.goes_on()
            sentinel.primary.freeze()
            await work.goes_on()
            after = len(work.confirmed)
            sentinel.primary.thaw()
            await work.goes_on()
        assert not set(work.confirmed[after:]) - set(work.delivered)
        assert all("no longer the master" in str(error) for error in work.errors[:1])


async def test_the_lease_thread_leaves_a_frozen_primary_too(sentinel: Sentinel) -> None:
    fields: dict[str, Any] = {
        "addrs": f"127.0.0.1:{sentinel.port}",
        "master_name": MASTER,
        "read_timeout": 10 * SECONDS,
    }
    async with driver_at(0, **fields) as driver:
        await driver.publish("q", messages("a"))
        (item,) = await take(driver, "q")

        async def extend() -> list[Any]:
            await driver.extend("q", [item.receipt], 60.0)
            sentinel.primary.freeze()
            with pytest.raises(BrokerUnavailableError):
                await driver.extend("q", [item.receipt], 60.0)
            return list(await driver.extend("q", [item.receipt], 60.0))

        async with asyncio.timeout(SECONDS):
            assert await asyncio.to_thread(asyncio.run, extend()) == []


async def test_the_newest_configuration_of_the_sentinels_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinels, "STRAGGLERS", 2.0)  # a busy machine needs longer to hear the second one
    current, former = Redis.shared(), Valkey.shared()
    async with (
        ScriptedSentinel(former.port, epoch=9) as stale,
        ScriptedSentinel(current.port, epoch=10) as fresh,
        ScriptedSentinel(former.port, silent=True) as frozen,
    ):
        addrs = [f"127.0.0.1:{sentinel.port}" for sentinel in (frozen, stale, fresh)]
        async with driver_at(0, addrs=addrs, master_name=MASTER, prefix="newest", connect_timeout=SECONDS):
            assert current.ask("EXISTS", "{newest:q}:queue") == ":1"
            assert former.ask("EXISTS", "{newest:q}:queue") == ":0"


async def test_a_server_without_replicas_is_left_when_it_is_not_the_master() -> None:
    current, former = Redis.shared(), Valkey.shared()
    async with ScriptedSentinel(former.port) as sentinel:
        fields: dict[str, Any] = {"addrs": f"127.0.0.1:{sentinel.port}", "master_name": MASTER, "prefix": "alone"}
        async with driver_at(0, **fields) as driver:
            former.ask("CONFIG", "SET", "min-replicas-to-write", "1")
            try:
                for _ in range(2):  # it stays: there is no other
                    with pytest.raises(BrokerUnavailableError, match="min-replicas-to-write") as refused:
                        await driver.publish("q", messages("a"))
                    assert refused.value.outcome == "rejected"
                sentinel.master = current.port
                async with asyncio.timeout(SECONDS):
                    while await _is_refused(driver):
                        await asyncio.sleep(0.02)
            finally:
                former.ask("CONFIG", "SET", "min-replicas-to-write", "0")
            assert current.ask("HLEN", "{alone:q}:messages") == ":1"


async def _is_refused(driver: RedisDriver) -> bool:
    try:
        await driver.publish("q", messages("a"))
    except BrokerUnavailableError:
        return True
    return False


async def test_the_level_is_that_of_the_server_that_answers_now(
    sentinel: Sentinel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasuki.drivers.redis.opening.BEAT", 0.05)
    sentinel.primary.ask("CONFIG", "SET", "appendfsync", "always")
    sentinel.replica.ask("CONFIG", "SET", "appendonly", "no")
    async with driver_at(0, addrs=f"127.0.0.1:{sentinel.port}", master_name=MASTER) as driver:
        assert (driver.durability, driver.durability_of("q")) == ("power", "power")
        await asyncio.to_thread(sentinel.primary.kill)
        async with asyncio.timeout(SECONDS):
            while await _is_refused(driver):
                await asyncio.sleep(0.02)
            assert (driver.durability, driver.durability_of("q")) == ("process", "process")
            sentinel.replica.ask("CONFIG", "SET", "appendonly", "yes")
            while driver.durability_of("q") != "broker":
                await asyncio.sleep(0.02)
        assert driver.durability == "broker"


async def test_a_master_that_no_sentinel_knows(sentinel: Sentinel) -> None:
    driver = RedisDriver("test", RedisSettings(addrs=f"127.0.0.1:{sentinel.port}", master_name="nobody"))
    with pytest.raises(BrokerUnavailableError, match="nobody"):
        await driver.open()


async def test_of_several_servers_the_master_is_found(sentinel: Sentinel) -> None:
    addrs = [f"127.0.0.1:{port}" for port in (1, sentinel.replica.port, sentinel.primary.port)]
    async with driver_at(0, addrs=addrs) as driver:
        assert not await driver.publish("q", messages("a"))


async def test_a_node_that_dies_under_load_loses_nothing(cluster: Cluster) -> None:
    fields: dict[str, Any] = {"addrs": f"127.0.0.1:{cluster.port}", "is_cluster_mode": True, "read_timeout": 2.0}
    async with driver_at(0, **fields) as publisher, driver_at(0, **fields) as consumer:
        for name in QUEUES:
            for driver in (publisher, consumer):
                await driver.declare(QueueSpec(name, lease=2.0))
        assert {place("tasuki", QueueSpec(name)).slot * 3 // 16384 for name in QUEUES} == {0, 1, 2}
        async with Work(publisher, consumer, QUEUES) as work:
            await work.goes_on(100)
            await asyncio.to_thread(Redis.restart, cluster.nodes[1])
            await work.goes_on(100)
            await work.catches_up()
        assert not work.lost()


async def test_a_frozen_node_of_a_cluster_is_left_as_soon_as_its_replica_has_its_slots(
    replicated: ReplicatedCluster,
) -> None:
    # Nothing but the other nodes can say so before the answer is overdue.
    fields: dict[str, Any] = {
        "addrs": f"127.0.0.1:{replicated.port}",
        "is_cluster_mode": True,
        "read_timeout": 10 * SECONDS,
    }
    owner = replicated.nodes[place("tasuki", QueueSpec("q")).slot * 3 // 16384]
    async with driver_at(0, **fields) as driver:
        await driver.publish("q", messages("first"))
        owner.freeze()
        try:
            async with asyncio.timeout(SECONDS):
                while await _is_refused(driver):
                    await asyncio.sleep(0.05)
        finally:
            owner.thaw()
        assert "a" in {item.id for item in await take(driver, "q")} | {item.id for item in await take(driver, "q")}


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
        assert sorted(item.id for item in await take(driver, "q", 2)) == ["a", "b"]


async def test_a_store_whose_slot_is_on_its_way_takes_and_holds(cluster: Cluster) -> None:
    """The node that the slot goes to does not know the scripts, and is not the one that has the slot."""
    async with driver_at(0, addrs=f"127.0.0.1:{cluster.port}", is_cluster_mode=True) as driver:
        store = driver.store("moving")
        await store.open()
        slot = store._place.slot
        owner = next(node for node in cluster.nodes if node.ask("CLUSTER", "COUNTKEYSINSLOT", str(slot)) != ":0")
        target = cluster.nodes[cluster.nodes.index(owner) - 1]
        source_id, target_id = (node.ask("CLUSTER", "MYID").splitlines()[1] for node in (owner, target))
        assert target.ask("SCRIPT", "FLUSH") == "+OK"
        target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", source_id)
        owner.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", target_id)
        # Their keys are not there yet: the owner sends the caller on.
        assert (await store.take("bucket", 1, rate=1.0, burst=5)).tokens == 1
        assert await store.hold("places", "me", places=1, lease=60.0) is not None
        assert await store.hold("places", "other", places=1, lease=60.0) is None
        for node in (target, owner, *cluster.nodes):
            node.ask("CLUSTER", "SETSLOT", str(slot), "NODE", source_id)
        await store.close()


async def test_a_cluster_must_be_called_one(cluster: Cluster) -> None:
    driver = RedisDriver("test", RedisSettings(addrs=[f"127.0.0.1:{node.port}" for node in cluster.nodes]))
    await driver.open()
    try:
        specs = [QueueSpec(name) for name in QUEUES]
        results = await asyncio.gather(*map(driver.declare, specs), return_exceptions=True)
        refused = [result for result in results if result is not None]
        assert refused
        assert all(isinstance(error, UnsupportedError) and "is_cluster_mode" in str(error) for error in refused)
    finally:
        await driver.close()
