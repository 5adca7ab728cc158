"""Options of a queue at Redis: what a publisher waits for, and when the server deletes the queue."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.errors import BrokerTimeoutError, UnsupportedError
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import MASTER, Redis, Sentinel
from tests.support.brokers.rig import IMPATIENT, SECONDS, messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

OPTIONS = ("--appendonly", "yes", "--appendfsync", "everysec")


def spec(name: str = "q", **options: Any) -> QueueSpec:
    return QueueSpec(name, options=options)


async def ask(driver: RedisDriver, *words: str) -> Any:
    return await driver._session.nodes("q").call(0, *words)


async def test_confirmed_messages_are_at_the_replicas(sentinel: Sentinel) -> None:
    fields: dict[str, Any] = {"addrs": f"127.0.0.1:{sentinel.port}", "master_name": MASTER, "read_timeout": IMPATIENT}
    async with driver_at(0, spec=spec(wait_replicas=1), **fields) as driver, driver_at(0, **fields) as other:
        for number in range(20):
            assert not await driver.publish("q", messages(str(number)))
            assert sentinel.replica.ask("HLEN", "{tasuki:q}:messages") == f":{number + 1}"
        await other.declare(QueueSpec("free"))
        await driver.declare(spec(wait_replicas=1))  # the last declaration wins
        sentinel.replica.freeze()
        try:
            for publisher in (driver, other):
                with pytest.raises(BrokerTimeoutError, match="0 of 1 replicas") as late:
                    await publisher.publish("q", messages("late"))
                assert late.value.outcome == "unknown"
                assert late.value.retryable
            assert not await driver.publish("q", [])
            assert not await other.publish("free", messages("a"))
        finally:
            sentinel.replica.thaw()
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    assert not await driver.publish("q", messages("again"))
                except BrokerTimeoutError:
                    continue
                break


async def test_a_slow_confirmation_holds_no_other_command_up(sentinel: Sentinel) -> None:
    fields: dict[str, Any] = {"addrs": f"127.0.0.1:{sentinel.port}", "master_name": MASTER}
    async with driver_at(0, spec=spec(wait_replicas=1), **fields) as driver:
        assert not await driver.publish("q", messages("a"))
        sentinel.replica.freeze()
        try:
            waiting = asyncio.create_task(driver.publish("q", messages("b")))
            assert len(await take(driver, "q", 2)) == 2
            assert not waiting.done()
        finally:
            sentinel.replica.thaw()
        async with asyncio.timeout(SECONDS):
            assert not await waiting


async def test_confirmed_messages_are_on_the_disk(broker: Redis) -> None:
    async with driver_at(broker.port, spec=spec(wait_fsync=True)) as driver:
        await driver.declare(QueueSpec("other"))
        assert (driver.durability_of("q"), driver.durability_of("other")) == ("power", "broker")
        assert not await driver.publish("q", messages("a"))
        assert not await driver.publish("other", [Outgoing("a", b"", {})])
        assert "cmdstat_waitaof:calls=2," in broker.ask("INFO", "commandstats"), "at the declaration and for a message"
        broker.ask("CONFIG", "SET", "appendonly", "no")
        with pytest.raises(UnsupportedError, match="queue 'q': wait_fsync needs Redis"):
            await driver.declare(spec(wait_fsync=True))
        with pytest.raises(Exception, match="the messages are stored, but") as unknown:
            await driver.publish("q", messages("b"))
        assert getattr(unknown.value, "outcome", "") == "unknown"


async def test_an_unused_queue_expires(broker: Redis) -> None:
    async with driver_at(broker.port, spec=spec(expires=60.0)) as driver:
        await driver.publish("q", messages("a", "b", priority=1))
        (held,) = await driver.receive("q", 1, 0.0)
        for key in ("{tasuki:q}:queue", "{tasuki:q}:messages", "{tasuki:q}:ready", "{tasuki:q}:leases"):
            assert 0 < await ask(driver, "PTTL", key) <= 60_000
            assert await ask(driver, "PEXPIRE", key, "30000")
        await driver.receive("q", 1, 0.0)
        assert await ask(driver, "PTTL", "{tasuki:q}:messages") > 30_000, "that was a use"
        assert held.id == "a"
        for key in await ask(driver, "KEYS", "*"):
            await ask(driver, "PEXPIRE", key.decode(), "0")
        assert not await driver.publish("q", messages("c"))
        assert [item.id for item in await take(driver, "q")] == ["c"]
        await driver.declare(spec())
        assert await ask(driver, "PTTL", "{tasuki:q}:messages") == -1


async def test_another_process_sees_the_options(broker: Redis) -> None:
    options: dict[str, Any] = {"wait_replicas": 0, "wait_fsync": True, "expires": 90.0}
    async with driver_at(broker.port, spec=spec(**options)) as driver, driver_at(broker.port, spec=spec("r")) as other:
        found = await other.inspect(QueueSpec("q"))
        assert (found.options, found.temporary) == ({"wait_fsync": True, "expires": 90.0}, False)
        assert (await other.inspect(spec(**options))).options == options, "an option at its default is no difference"
        await driver.declare(QueueSpec("q", temporary=True))
        found = await other.inspect(QueueSpec("q"))
        assert (found.options, found.temporary) == ({}, True)
