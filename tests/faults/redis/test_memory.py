"""Redis at its maxmemory: what frees memory works, also for a worker that starts; only what adds is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Release
from tasuki.errors import QueueFullError
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Cluster, Redis, Valkey
from tests.support.brokers.rig import messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

KEYED = QueueSpec("q", ordering="key")


@pytest.fixture(params=[Redis, Valkey], ids=["redis", "valkey"])
def broker(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """The shared one; it gets its memory back."""
    broker: Redis = request.param.shared()
    broker.ask("FLUSHALL")
    yield broker
    broker.ask("CONFIG", "SET", "maxmemory", "0")
    broker.ask("FLUSHALL")


def fill(broker: Redis) -> None:
    """Let the server have more data than it may have."""
    broker.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    broker.ask("CONFIG", "SET", "maxmemory", "1mb")


async def test_publishes_are_refused_and_deliveries_go_on(broker: Redis) -> None:
    async with driver_at(broker.port, spec=KEYED) as driver:
        await driver.publish("q", messages(*"abcdef") + messages("g", "h", key="k"))
        got = await take(driver, "q", 5)
        fill(broker)
        with pytest.raises(QueueFullError, match="raise maxmemory") as full:
            await driver.publish("q", messages("i"))
        assert (full.value.outcome, full.value.retryable) == ("rejected", True)
        assert not await driver.extend("q", [item.receipt for item in got], 60.0)
        kinds = (Ack(got[0].receipt), Nack(got[1].receipt), Nack(got[2].receipt, 60.0), Release(got[3].receipt))
        assert not await driver.settle("q", kinds)
        assert len(await take(driver, "q", 4)) == 4
        broker.ask("CONFIG", "SET", "maxmemory", "0")
        assert not await driver.publish("q", messages("i"))


async def test_a_worker_that_starts_drains_the_backlog(broker: Redis) -> None:
    async with driver_at(broker.port, spec=KEYED) as publisher:
        await publisher.publish("q", messages(*"abc") + messages("d", "e", key="k") + messages("f", delay=60.0))
    fill(broker)
    async with driver_at(broker.port, spec=KEYED) as worker:
        assert len(await worker.peek("q", 10)) == 6
        for _ in range(5):
            (item,) = await take(worker, "q")
            assert not await worker.settle("q", [Ack(item.receipt)])
        assert await worker.purge("q") == 1
        await worker.declare(QueueSpec("q", lease=5.0))
        await worker.declare(QueueSpec("new"))
        assert (await worker.depth("q")).ready == 0
        await worker.delete("new")


async def test_a_message_that_moves_is_stored_for_its_original_will_go(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        await driver.declare(QueueSpec("dead"))
        await driver.publish("q", messages("a"))
        (item,) = await take(driver, "q")
        fill(broker)
        assert not await driver.publish("dead", [Outgoing(item.id, item.body, {}, deduplicate=False)])
        assert not await driver.settle("q", [Ack(item.receipt)])
        assert [item.id for item in await driver.peek("dead", 1)] == ["a"]
        with pytest.raises(QueueFullError):
            await driver.publish("dead", [*messages("b"), Outgoing("a", b"", {}, deduplicate=False)])


async def test_in_a_cluster_a_move_is_refused_for_its_original_may_be_elsewhere() -> None:
    cluster = Cluster.shared()
    async with driver_at(0, addrs=f"127.0.0.1:{cluster.port}", is_cluster_mode=True) as driver:
        for node in cluster.nodes:
            fill(node)
        try:
            with pytest.raises(QueueFullError):
                await driver.publish("q", messages("a", deduplicate=False))
        finally:
            for node in cluster.nodes:
                node.ask("CONFIG", "SET", "maxmemory", "0")
