"""A silent process keeps its deliveries for their leases, unless its subscription at the server is gone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tasuki.contracts.driver import Ack, QueueSpec, Received
from tasuki.drivers.redis import receiving
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.scripts import place
from tasuki.errors import DriverError
from tasuki.testing.proxy import Proxy
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Redis, ReplicatedCluster
from tests.support.brokers.rig import SECONDS, messages, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(120)]

SILENCE = 1.0
SPEC = QueueSpec("q", lease=300.0)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "SILENCE", SILENCE)


@asynccontextmanager
async def held_by_another(broker: Redis, proxy: Proxy) -> AsyncIterator[tuple[RedisDriver, RedisDriver, Received]]:
    """A driver behind the proxy that holds a message, and another one that looks for it."""
    async with driver_at(proxy.port, spec=SPEC) as holder, driver_at(broker.port, spec=SPEC) as judge:
        await holder.publish("q", messages("a"))
        (held,) = await holder.receive("q", 1, SECONDS)
        yield holder, judge, held
        proxy.serve()


async def hears_again(holder: RedisDriver, cut_at: float) -> None:
    """Wait until it hears of the queue again; ``cut_at``: by the clock of the loop."""

    async def hears() -> bool:
        heard_for = holder._receiver.listener.heard_for(holder._session.place("q"))
        return heard_for is not None and heard_for < asyncio.get_running_loop().time() - cut_at

    await until(hears, "it hears again")


async def test_a_silent_process_keeps_its_message_until_its_connection_is_gone(broker: Redis, proxy: Proxy) -> None:
    async with held_by_another(broker, proxy) as (_, judge, held):
        assert await judge.receive("q", 1, 4 * SILENCE) == []
        proxy.refuse()
        (got,) = await judge.receive("q", 1, SECONDS)
        assert (got.id, got.suspect, got.attempt) == (held.id, True, 1)


async def test_a_process_that_has_just_subscribed_does_not_judge(broker: Redis, proxy: Proxy) -> None:
    async with held_by_another(broker, proxy) as (_, judge, _held):
        await asyncio.sleep(SILENCE)
        proxy.refuse()
        where = judge._session.place("q")
        assert judge._receiver.listener.heard_for(where) is None
        assert await judge.receive("q", 1, 0.05) == []  # it subscribes
        while not await judge.receive("q", 1, 0.0):  # asks the server; one that waits asks seldom
            await asyncio.sleep(0.02)
        heard_for = judge._receiver.listener.heard_for(where)
        assert heard_for is not None
        assert heard_for >= SILENCE


async def test_a_renewed_message_stays_though_its_process_has_no_subscription(broker: Redis, proxy: Proxy) -> None:
    async with held_by_another(broker, proxy) as (holder, judge, held):
        holder._receiver.listener.close()
        waiting = asyncio.create_task(judge.receive("q", 1, SECONDS))
        for _ in range(20):
            assert not await asyncio.wait_for(holder.extend("q", [held.receipt], SPEC.lease), SECONDS)
            assert not (await asyncio.wait([waiting], timeout=SILENCE / 5))[0]
        assert len(await waiting) == 1


async def test_a_silent_process_that_has_lost_its_connection_hears_again_and_keeps_its_message(
    broker: Redis, proxy: Proxy
) -> None:
    async with held_by_another(broker, proxy) as (holder, judge, held):
        assert await judge.receive("q", 1, 2 * SILENCE) == []
        for _ in range(3):
            proxy.cut()
            assert await judge.receive("q", 1, 2 * SILENCE) == []
        assert not await holder.settle("q", [Ack(held.receipt)])


async def test_one_that_undeclares_the_queue_keeps_the_message_that_it_holds(broker: Redis, proxy: Proxy) -> None:
    async with held_by_another(broker, proxy) as (holder, judge, held):
        await holder.undeclare("q")
        assert await judge.receive("q", 1, 4 * SILENCE) == []
        assert not await holder.settle("q", [Ack(held.receipt)])


async def test_a_look_while_a_connection_is_made_again_takes_nothing(broker: Redis, proxy: Proxy) -> None:
    async with held_by_another(broker, proxy) as (holder, judge, held):
        assert await judge.receive("q", 1, 2 * SILENCE) == []
        judge._receiver.listener.heard_for = lambda where: 2 * SILENCE  # type: ignore[method-assign]
        for _ in range(5):
            refused_at = asyncio.get_running_loop().time()
            proxy.refuse()
            assert await judge.receive("q", 1, 0.0) == []
            proxy.serve()
            await hears_again(holder, refused_at)
            assert await judge.receive("q", 1, SILENCE) == []
        assert not await holder.settle("q", [Ack(held.receipt)])


async def test_a_process_that_renews_for_a_shorter_lease_is_not_silent(broker: Redis, proxy: Proxy) -> None:
    """Another process has declared a longer lease, as a newer version does."""
    async with held_by_another(broker, proxy) as (holder, judge, held):
        await judge.receive("q", 1, 1.2 * SILENCE)
        for _ in range(20):
            assert not await holder.extend("q", [held.receipt], SPEC.lease / 10)
            cut_at = asyncio.get_running_loop().time()
            proxy.cut()
            await hears_again(holder, cut_at)  # a busy machine may take longer for it than the time between two checks
            assert await judge.receive("q", 1, SILENCE / 5) == []
        assert not await holder.settle("q", [Ack(held.receipt)])


async def test_many_messages_of_a_silent_process_are_looked_at_seldom(
    broker: Redis, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with driver_at(proxy.port, spec=SPEC) as holder, driver_at(broker.port, spec=SPEC) as judge:
        await holder.publish("q", messages(*map(str, range(100))))
        held = await holder.receive("q", 100, SECONDS)
        await holder.extend("q", [each.receipt for each in held], SPEC.lease / 3)  # as if it were silent for long
        await judge.receive("q", 1, 1.2 * SILENCE)
        monkeypatch.setattr(receiving, "SILENCE", SPEC.lease / 3)
        judge._receiver.listener.heard_for = lambda where: SPEC.lease  # type: ignore[method-assign]
        before, rounds = _searches(broker), 50
        for number in range(rounds):
            await judge.publish("q", messages(f"more {number}"))
            (got,) = await judge.receive("q", 1, SECONDS)
            await judge.settle("q", [Ack(got.receipt)])
        assert _searches(broker) - before < rounds / 2


def _searches(broker: Redis) -> int:
    """How often a script has searched for due or silent messages."""
    found = re.search(r"cmdstat_zrangebyscore:calls=(\d+)", broker.ask("INFO", "commandstats"))
    return int(found[1]) if found else 0


async def test_a_process_without_a_subscription_when_it_received_is_not_judged(broker: Redis, proxy: Proxy) -> None:
    async with driver_at(proxy.port, spec=SPEC) as holder, driver_at(broker.port, spec=SPEC) as judge:
        await holder.publish("q", messages("a"))
        assert len(await holder.receive("q", 1, 0.0)) == 1
        proxy.refuse()
        assert await judge.receive("q", 1, 4 * SILENCE) == []
        proxy.serve()


@pytest.mark.cluster
async def test_a_renewal_hears_at_the_new_master_though_the_old_one_leaves_the_connection_open(
    replicated: ReplicatedCluster,
) -> None:
    number = place("tasuki", SPEC).slot * 3 // 16384
    replica = replicated.replicas[number]
    async with driver_at(0, spec=SPEC, addrs=f"127.0.0.1:{replicated.port}", is_cluster_mode=True) as holder:
        await holder.publish("q", messages("a"))
        (held,) = await holder.receive("q", 1, SECONDS)
        ours = holder._session.place("q").channel.decode() + ":" + holder._session.owner

        def is_master() -> bool:
            return "role:master" in replica.ask("INFO", "replication")

        async def is_heard_there() -> bool:
            assert not await asyncio.to_thread(lambda: asyncio.run(_renewed(holder, held)))
            return is_master() and replica.ask("PUBLISH", ours, "are you there?") == ":1"

        assert replica.ask("CLUSTER", "FAILOVER") == "+OK"
        await until(is_heard_there, "the subscription at the new master")


async def _renewed(driver: RedisDriver, held: Received) -> list[object]:
    """Renew it from a loop of its own, as the thread does that keeps leases."""
    try:
        return list(await driver.extend("q", [held.receipt], SPEC.lease))
    except DriverError as error:
        if not error.retryable:
            raise
        return []
