"""Redis in trouble: frozen, cut off, flushed, full, demoted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Received, Release
from tasuki.drivers.redis import opening, scripts, session
from tasuki.drivers.redis.connecting import sentinels
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.settings import RedisSettings
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    QueueFullError,
    QueueNotFoundError,
)
from tasuki.testing.proxy import Proxy
from tests.faults.redis.rig import driver_at
from tests.support.asker import QUEUE, asker
from tests.support.brokers.redis import Redis
from tests.support.brokers.rig import IMPATIENT, SECONDS, Work, messages, take
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

OPTIONS = ("--appendonly", "yes", "--appendfsync", "always")


async def test_connections_cut_under_load_lose_nothing(broker: Redis, proxy: Proxy) -> None:
    spec = QueueSpec("q", lease=2.0)
    async with driver_at(proxy.port, spec=spec) as publisher, driver_at(proxy.port, spec=spec) as consumer:
        async with Work(publisher, consumer) as work:
            for _ in range(10):
                await work.goes_on(50)
                proxy.cut()
            await work.goes_on()
            await work.catches_up()
        assert not work.lost()
        # Two drivers: each with one connection for its calls, and one that listens for the consumer.
        assert proxy.connections() <= 4


async def test_frozen_it_answers_nothing_and_no_caller_hangs(broker: Redis) -> None:
    async with driver_at(broker.port, read_timeout=IMPATIENT, connect_timeout=IMPATIENT) as driver:
        await driver.publish("q", messages("first"))
        broker.freeze()
        try:
            with pytest.raises(BrokerTimeoutError) as unknown:
                await driver.publish("q", messages("doubtful"))
            assert unknown.value.outcome == "unknown"
            for verb in (driver.depth("q"), driver.receive("q", 1, 0.1), driver.settle("q", [Ack(b"1:x")])):
                async with asyncio.timeout(SECONDS):
                    with pytest.raises(BrokerUnavailableError) as unavailable:
                        await verb
                assert unavailable.value.retryable
        finally:
            broker.thaw()
        async with asyncio.timeout(SECONDS):
            assert {item.id for item in await take(driver, "q", 2)} == {"first", "doubtful"}


async def test_a_close_does_not_wait_for_a_frozen_server(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        await driver.publish("q", messages("a"))
        await take(driver, "q")
        broker.freeze()
        try:
            async with asyncio.timeout(SECONDS):
                await driver.close()
        finally:
            broker.thaw()


async def test_a_lost_reply_is_unknown_and_the_same_id_mends_it(broker: Redis) -> None:
    spec = QueueSpec("q", dedup_window=60.0)
    async with driver_at(broker.port, spec=spec, read_timeout=IMPATIENT, connect_timeout=IMPATIENT) as driver:
        await driver.publish("q", messages("first"))
        await driver.settle("q", [Ack(item.receipt) for item in await take(driver, "q")])
        broker.freeze()
        try:
            with pytest.raises(BrokerTimeoutError) as unknown:
                await driver.publish("q", messages("a"))
        finally:
            broker.thaw()  # and what had reached it is stored now
        assert unknown.value.outcome == "unknown"
        async with asyncio.timeout(SECONDS):
            while not (await driver.depth("q")).ready:
                await asyncio.sleep(0.02)
        assert not await driver.publish("q", messages("a"))
        assert [item.id for item in await take(driver, "q")] == ["a"]
        assert (await driver.depth("q")).ready == 0


async def test_a_waiting_receive_lives_through_a_cut(broker: Redis, proxy: Proxy) -> None:
    async with driver_at(proxy.port) as consumer, driver_at(broker.port) as publisher:
        waiting = asyncio.create_task(consumer.receive("q", 1, SECONDS))
        async with asyncio.timeout(SECONDS):
            while proxy.connections() < 2:  # it listens
                await asyncio.sleep(0.01)
            proxy.cut()
            await publisher.publish("q", messages("a"))
            assert [item.id for item in await got_of(consumer, waiting)] == ["a"]


async def got_of(consumer: RedisDriver, waiting: Awaitable[Sequence[Received]]) -> Sequence[Received]:
    """What it gets, or what the next receive gets: one that was just asking for messages reports a lost connection."""
    while True:
        try:
            return await waiting
        except DriverError:
            waiting = consumer.receive("q", 1, SECONDS)


async def test_a_connection_that_answers_nothing_is_replaced(broker: Redis, proxy: Proxy) -> None:
    async with driver_at(proxy.port, read_timeout=IMPATIENT) as driver:
        proxy.hush()
        with pytest.raises(BrokerTimeoutError):
            await driver.publish("q", messages("doubtful"))
        assert not await driver.publish("q", messages("a"))
        assert (await driver.depth("q")).ready == 1


async def test_a_waiting_receive_hears_again_after_a_silence(
    broker: Redis, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinels, "BEAT", 0.2)
    # Only news wakes it: it does not look by itself.
    fields: dict[str, Any] = {"read_timeout": IMPATIENT, "claim_interval": 10 * SECONDS}
    async with driver_at(proxy.port, **fields) as consumer, driver_at(broker.port) as publisher:
        waiting = asyncio.create_task(consumer.receive("q", 1, 10 * SECONDS))
        async with asyncio.timeout(SECONDS):
            while proxy.connections() < 2:  # it listens
                await asyncio.sleep(0.01)
            proxy.hush()
            await publisher.publish("q", messages("a"))
            assert [item.id for item in await got_of(consumer, waiting)] == ["a"]


async def test_an_old_receipt_never_touches_the_next_delivery(broker: Redis) -> None:
    spec = QueueSpec("q", lease=0.3)
    async with driver_at(broker.port, spec=spec) as zombie, driver_at(broker.port, spec=spec) as worker:
        await zombie.publish("q", messages("a"))
        (old,) = await take(zombie, "q")
        await worker.declare(QueueSpec("q", lease=60.0))
        (new,) = await take(worker, "q")
        for late in (Ack, Nack, Release):
            assert list(await zombie.settle("q", [late(old.receipt)])) == [old.receipt]
        assert list(await zombie.extend("q", [old.receipt], 60.0)) == [old.receipt]
        assert (await worker.depth("q")).in_flight == 1
        assert not await worker.settle("q", [Ack(new.receipt)])


async def test_receipts_of_before_a_flush_fit_nothing_after_it(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        await driver.publish("q", messages("a"))
        (old,) = await take(driver, "q")
        broker.ask("FLUSHALL")
        await driver.publish("q", messages("b"))
        (new,) = await take(driver, "q")
        assert list(await driver.settle("q", [Ack(old.receipt)])) == [old.receipt]
        assert not await driver.settle("q", [Ack(new.receipt)])


async def test_a_queue_deleted_underneath_is_declared_again(broker: Redis) -> None:
    async with driver_at(broker.port, spec=QueueSpec("q", max_length=1)) as driver:
        waiting = asyncio.create_task(driver.receive("q", 1, SECONDS))
        broker.ask("FLUSHALL")
        assert not await driver.publish("q", messages("a"))
        assert [item.id for item in await waiting] == ["a"]
        broker.ask("FLUSHALL")
        for verb in (driver.depth("q"), driver.peek("q", 1), driver.purge("q"), driver.receive("q", 1, 0.0)):
            await verb
        await driver.publish("q", messages("b"))
        with pytest.raises(QueueFullError):  # its options are back too
            await driver.publish("q", messages("c"))


async def test_scripts_that_were_flushed_are_loaded_again(broker: Redis) -> None:
    async with driver_at(broker.port) as publisher, driver_at(broker.port) as consumer:
        async with Work(publisher, consumer) as work:
            for _ in range(20):
                await work.goes_on(20)
                assert broker.ask("SCRIPT", "FLUSH") == "+OK"
        assert not work.lost()
        assert not work.errors
        assert set(work.acked.values()) == {1}


async def test_a_server_that_became_a_replica_rejects_and_is_left(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        broker.ask("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(BrokerUnavailableError) as rejected:
            await driver.publish("q", messages("a"))
        assert rejected.value.outcome == "rejected"
        broker.ask("REPLICAOF", "NO", "ONE")
        assert not await driver.publish("q", messages("a"))


async def test_a_disk_that_cannot_be_written_rejects(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        (broker.folder / "dump.rdb").mkdir()
        broker.ask("CONFIG", "SET", "save", "3600 1000000")
        broker.ask("BGSAVE")
        async with asyncio.timeout(SECONDS):
            while "rdb_last_bgsave_status:err" not in broker.ask("INFO", "persistence"):
                await asyncio.sleep(0.02)
        with pytest.raises(BrokerUnavailableError, match="disk") as rejected:
            await driver.publish("q", messages("a"))
        assert rejected.value.outcome == "rejected"


async def test_a_partly_sent_batch_says_what_was_stored(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasuki.drivers.redis.batches.MAX_BYTES", 1000)
    large = [Outgoing(str(number), bytes(600), {}) for number in range(4)]
    async with driver_at(broker.port, spec=QueueSpec("q", max_length=2)) as driver:
        results = await driver.publish("q", large)
        assert [type(result) for result in results] == [type(None)] * 2 + [QueueFullError] * 2
        assert [item.id for item in await take(driver, "q", 2)] == ["0", "1"]


async def test_an_idle_queue_holds_nothing_but_its_options(broker: Redis) -> None:
    async with driver_at(broker.port, spec=QueueSpec("q", ordering="key")) as driver:
        await driver.publish("q", messages("a", "b", key="k") + messages("c", priority=5) + messages("d", delay=0.01))
        for _ in range(4):
            (got,) = await take(driver, "q")
            await driver.settle("q", [Nack(got.receipt)])
        for _ in range(4):
            (got,) = await take(driver, "q")
            await driver.settle("q", [Ack(got.receipt)])
        assert broker.ask("DBSIZE") == ":1"
        await driver.delete("q")
        assert broker.ask("DBSIZE") == ":0"


async def test_cancelled_everywhere_the_connection_stays_sound(broker: Redis) -> None:
    async with driver_at(broker.port, spec=QueueSpec("q", lease=60.0)) as driver:
        for turns in range(30):
            tasks = [
                asyncio.create_task(driver.publish("q", messages(f"{turns}"))),
                asyncio.create_task(driver.receive("q", 2, 1.0)),
                asyncio.create_task(driver.depth("q")),
                asyncio.create_task(driver.peek("q", 3)),
            ]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            if isinstance(taken := answers[1], list):  # too late to be cancelled
                await driver.settle("q", [Ack(item.receipt) for item in taken])
        async with asyncio.timeout(SECONDS):
            while (await driver.depth("q")).in_flight:
                for item in await driver.receive("q", 100, 0.05):
                    await driver.settle("q", [Ack(item.receipt)])
        assert broker.ask("CLIENT", "LIST").count("\n") <= 4


async def test_open_with_the_server_away_and_later_there() -> None:
    broker = Redis()
    driver = RedisDriver("test", parsed(RedisSettings, url=f"redis://:secret-word@127.0.0.1:{broker.port}"))
    try:
        with pytest.raises(BrokerUnavailableError) as error:
            await driver.open()
        assert "secret-word" not in str(error.value)
        with pytest.raises(DriverError):
            await driver.depth("q")
        await asyncio.to_thread(broker.start)
        broker.ask("CONFIG", "SET", "requirepass", "secret-word")
        await driver.open()
        await driver.declare(QueueSpec("q"))
        assert (await driver.depth("q")).ready == 0
    finally:
        await driver.close()
        broker.end()


async def test_a_purge_in_several_steps_leaves_newer_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasuki.drivers.redis.driver.PURGED", 5)
    spec = QueueSpec("q", ordering="key")
    newer = [*messages("first", priority=9), *messages("late", delay=60.0), *messages("behind", priority=9, key="k")]
    async with driver_at(Redis.shared().port, prefix="purged", spec=spec) as driver:
        await driver.publish("q", [*messages(*"abcdef", key="k"), *messages(*"ghijkl"), *messages(*"mnop", delay=60.0)])
        ask, steps = driver._session.ask, 0

        async def ask_and_publish(*words: Any) -> Any:
            nonlocal steps
            answer = await ask(*words)
            if words[1] is scripts.PURGE:
                steps += 1
                monkeypatch.setattr(driver._session, "ask", ask)
                await driver.publish("q", newer)
                monkeypatch.setattr(driver._session, "ask", ask_and_publish)
            return answer

        monkeypatch.setattr(driver._session, "ask", ask_and_publish)
        assert await driver.purge("q") == 16
        monkeypatch.undo()
        shown = sorted(message.id for message in await driver.peek("q", 100))
        assert shown == sorted(message.id for message in newer * steps)
        assert [item.id for item in await take(driver, "q", steps + 1)] == ["first", "behind"] + ["first"] * (steps - 1)
        await driver.delete("q")


async def test_a_killed_asker_leaves_no_queue(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "KEPT", 2.0)
    fields: dict[str, Any] = {"url": broker.url}
    async with driver_at(broker.port) as answerer, driver_at(broker.port) as other:
        with asker(RedisDriver, fields, {f"{session.__name__}.KEPT": 2.0, f"{opening.__name__}.BEAT": 0.2}) as process:
            assert await asyncio.to_thread(process.line) == "there"
            await answerer.inspect(QUEUE)
            await asyncio.sleep(3.0)  # longer than it is kept without use
            await answerer.publish(QUEUE.name, [Outgoing("r", b"reply", {})])
            assert await asyncio.to_thread(process.line) == "reply"
            await asyncio.to_thread(process.kill)
        await answerer.publish(QUEUE.name, [Outgoing("late", b"late", {}), Outgoing("later", b"late", {}, delay=100.0)])
        (late,) = await answerer.receive(QUEUE.name, 1, SECONDS)
        await answerer.settle(QUEUE.name, [Nack(late.receipt, 50.0)])
        await other.publish("q", messages("stays"))
        nodes = other._session.nodes("q")
        async with asyncio.timeout(SECONDS):
            while await nodes.call(0, "KEYS", "*reply.1*"):
                await asyncio.sleep(0.1)
        assert (await other.depth("q")).ready == 1, "only what is temporary goes"
        with pytest.raises(QueueNotFoundError):  # and publishing does not make it again
            await answerer.publish(QUEUE.name, [Outgoing("last", b"", {})])
        assert not await nodes.call(0, "KEYS", "*reply.1*")
        await answerer.declare(QueueSpec(QUEUE.name))
        assert not await answerer.publish(QUEUE.name, [Outgoing("last", b"", {})])
        for key in await nodes.call(0, "KEYS", "*reply.1*"):
            assert await nodes.call(0, "PTTL", key) == -1, "temporary no more"
