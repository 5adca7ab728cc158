"""What RabbitMQ's deliveries come to: settlements that a broker in trouble does not take, starts that are recorded."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from pamqp import commands

from tasuki.contracts.driver import Ack, Nack, QueueSpec, Received, Release, Settlement
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.errors import BrokerUnavailableError, DriverError, QueueNotFoundError
from tasuki.testing.proxy import Proxy
from tests.faults.amqp.rig import driver_at, ready
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import SECONDS, messages, take, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@asynccontextmanager
async def low_on_memory(broker: RabbitMQ) -> AsyncIterator[None]:
    """The broker takes no messages, for as long as this lasts."""
    await asyncio.to_thread(broker.control, "set_vm_memory_high_watermark", "0")
    try:
        yield
    finally:
        await asyncio.to_thread(broker.control, "set_vm_memory_high_watermark", "absolute", "4GB")


async def unsettled(broker: RabbitMQ, queue: str) -> int:
    """How many messages of a queue the broker has pushed and not heard of again."""
    lines = await asyncio.to_thread(broker.control, "list_queues", "name", "messages_unacknowledged")
    return sum(int(line.split()[1]) for line in lines.splitlines() if line.startswith(queue))


async def test_an_alarm_that_outlasts_every_patience_leaves_nothing_held(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue), request_timeout=1.0) as driver:
        await driver.publish(queue, messages(*map(str, range(6))))
        async with low_on_memory(broker):
            for attempt in (1, 2, 3):
                got = await take(driver, queue, 6)
                assert {item.attempt for item in got} == {attempt}
                assert list(await driver.settle(queue, [Nack(item.receipt, 0.2) for item in got])) == []
        got = await take(driver, queue, 6)
        assert {item.attempt for item in got} == {4}
        assert list(await driver.settle(queue, [Ack(item.receipt) for item in got])) == []
        await until(lambda: _is(unsettled(broker, queue), 0), "the broker to know that nothing is held")


async def test_what_an_alarm_kept_here_is_handed_back_with_its_count(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue)
    async with driver_at(broker.port, spec) as other:
        async with driver_at(broker.port, spec, request_timeout=3.0) as driver:
            await driver.publish(queue, messages("a", "b"))
            async with low_on_memory(broker):
                failed, unused = await take(driver, queue, 2)
                assert list(await driver.settle(queue, [Nack(failed.receipt, 60.0)])) == []
                assert list(await driver.settle(queue, [Release(unused.receipt)])) == []
                (got,) = await take(other, queue)  # while the alarm lasts
                assert (got.id, got.attempt) == ("b", 1)
        (got,) = await take(other, queue)
        assert (got.id, got.attempt, got.suspect) == ("a", 2, False)


async def test_a_start_is_recorded_though_the_broker_takes_no_messages(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages("a"))
        async with low_on_memory(broker):
            (got,) = await take(driver, queue)
            assert list(await driver.start(queue, [got.receipt])) == []
            await driver.close()
            await driver.open()
            (got,) = await take(driver, queue)
            assert (got.attempt, got.suspect) == (2, True)


@pytest.mark.parametrize("ordering", ["none", "key"])
async def test_records_of_failures_go_with_their_message(broker: RabbitMQ, queue: str, ordering: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue, ordering=ordering)) as driver:  # type: ignore[arg-type]
        await driver.publish(queue, messages("a", key="k" if ordering == "key" else None))
        for settlement, attempt in ((Release, 1), (Nack, 1), (Nack, 2), (None, 3), (Ack, 4)):
            (got,) = await take(driver, queue)
            assert (got.attempt, got.suspect) == (attempt, attempt == 4)
            await driver.start(queue, [got.receipt])
            if settlement is None:
                await driver.close()
                await driver.open()
            else:
                await driver.settle(queue, [settlement(got.receipt)])
        assert await _records(broker, queue) == []


async def test_a_worker_that_dies_with_a_hundred_messages_charges_the_one_that_it_started(
    broker: RabbitMQ, queue: str
) -> None:
    spec = QueueSpec(queue)
    async with driver_at(broker.port, spec) as publisher:
        await publisher.publish(queue, messages(*(f"{number:03d}" for number in range(100))))
        for deaths in range(3):
            async with driver_at(broker.port, spec) as worker:
                got = await take(worker, queue, 100)
                assert [item.id for item in got] == sorted(item.id for item in got)
                assert {item.suspect for item in got} == {deaths > 0}
                assert [item.attempt for item in got] == [1 + deaths, *[1] * 99]
                await worker.start(queue, [got[0].receipt])


async def test_consumers_stand_while_slow_handlers_work(
    broker: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    monkeypatch.setattr(Connection, "send", _noting(sent, Connection.send))
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages(*map(str, range(30))))
        held = await take(driver, queue, 4)
        held += await take(driver, queue, 6)  # the caller has more room: the consumers are replaced, once
        for number in range(10, 25):
            if number == 20:
                driver._inner._guard.current.subscriptions[queue]._idle_timer._idle = lambda: 0.02  # type: ignore[attr-defined]
                sent.clear()
            await driver.settle(queue, [Ack(held.pop(0).receipt)])
            held += await take(driver, queue)
            assert held[-1].id == str(number)
            if number >= 20:
                await asyncio.sleep(0.05)  # the handler works, and no receive asks
        assert not [method for method in sent if isinstance(method, commands.Basic.Consume | commands.Basic.Cancel)]
        async with driver_at(broker.port, QueueSpec(queue)) as other:  # and the unneeded messages are for others
            assert [item.id for item in await take(other, queue, 5)] == [str(number) for number in range(25, 30)]


async def test_a_growing_window_makes_no_suspects(broker: RabbitMQ, queue: str) -> None:
    """Each time the consumers grow while acks are under way, and others publish."""
    names = [str(number) for number in range(3_000)]
    async with driver_at(broker.port, QueueSpec(queue)) as driver, driver_at(broker.port, QueueSpec(queue)) as other:
        await driver.publish(queue, messages(*names[:2_000]))
        publishing = asyncio.create_task(other.publish(queue, messages(*names[2_000:])))
        seen: list[Received] = []
        settling: list[asyncio.Task[object]] = []
        while len(seen) < len(names):
            got = await driver.receive(queue, min(2 + len(seen) // 4, 1_000), SECONDS)
            seen += got
            settling.append(asyncio.create_task(driver.settle(queue, [Ack(each.receipt) for each in got])))
        await asyncio.gather(publishing, *settling)
    assert {(each.suspect, each.attempt) for each in seen} == {(False, 1)}
    assert [each.id for each in seen] == names


async def test_what_a_smaller_window_leaves_here_is_for_others(broker: RabbitMQ, queue: str) -> None:
    """Though receives go on; in order, without an attempt, and no suspects."""
    names = [str(number) for number in range(1_500)]
    async with driver_at(broker.port, QueueSpec(queue)) as driver, driver_at(broker.port, QueueSpec(queue)) as other:
        await driver.publish(queue, messages(*names))
        held = await take(driver, queue, 1_000)
        await driver.settle(queue, [Release(each.receipt) for each in held])
        own: list[Received] = []

        async def work() -> None:
            while True:
                own.extend(got := await driver.receive(queue, 1, SECONDS))
                await driver.settle(queue, [Ack(each.receipt) for each in got])

        working = asyncio.create_task(work())
        await until(lambda: _is_beyond(broker, f"{queue}.returned"), "the rest to come back")
        theirs = await take(other, queue, 100)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert {(each.suspect, each.attempt) for each in (*own, *theirs)} == {(False, 1)}
    for some in (own, theirs):
        numbers = [int(each.id) for each in some]
        assert numbers == sorted(numbers)
    assert not {each.id for each in own} & {each.id for each in theirs}


async def _is_beyond(broker: RabbitMQ, lane: str) -> bool:
    return await ready(broker.port, lane) > 100


async def test_returned_messages_stay_before_the_rest(broker: RabbitMQ, queue: str) -> None:
    spec, names = QueueSpec(queue), [f"{number:02d}" for number in range(20)]
    async with driver_at(broker.port, spec) as publisher:
        await publisher.publish(queue, messages(*names))
        for number in (15, 3, 5):
            async with driver_at(broker.port, spec) as worker:
                got = await take(worker, queue, number)
                assert [item.id for item in got] == names[:number]
                await worker.settle(queue, [Release(item.receipt) for item in got])
        got = await take(publisher, queue, 20)
        assert [(item.id, item.attempt) for item in got] == [(name, 1) for name in names]


@asynccontextmanager
async def impatient(broker: RabbitMQ) -> AsyncIterator[None]:
    """The broker's own default lets a message be held for half a second, and this is looked at all the time."""
    settings = "consumer_timeout", "channel_tick_interval"
    old = [await asyncio.to_thread(broker.control, "eval", f"element(2, application:get_env(rabbit, {name})).")
           for name in settings]  # fmt: skip
    await _set(broker, dict(zip(settings, (500, 100), strict=True)))
    try:
        yield
    finally:
        await _set(broker, dict(zip(settings, map(int, old), strict=True)))


async def _set(broker: RabbitMQ, values: dict[str, int]) -> None:
    calls = (f"application:set_env(rabbit, {name}, {value})" for name, value in values.items())
    await asyncio.to_thread(broker.control, "eval", f"{', '.join(calls)}.")


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_a_handler_may_take_longer_than_the_brokers_own_consumer_timeout(
    broker: RabbitMQ, queue: str, kind: str
) -> None:
    spec, short = (
        QueueSpec(name, options={"queue_type": kind, "consumer_timeout": timeout})
        for name, timeout in ((queue, None), (f"{queue}-short", 0.5))
    )
    async with impatient(broker), driver_at(broker.port, spec, short) as driver:
        for name in (queue, short.name):
            await driver.publish(name, messages("a"))
        (held,) = await take(driver, queue)
        (lost,) = await take(driver, short.name)
        await until(lambda: _is(driver.extend(short.name, [lost.receipt], 30.0), [lost.receipt]), "the broker to act")
        with pytest.raises(BrokerUnavailableError, match=r"timed out.*consumer_timeout"):
            await driver.receive(short.name, 1, 0.0)
        (again,) = await take(driver, short.name)
        assert (again.attempt, again.suspect) == (1, True)
        assert list(await driver.settle(queue, [Ack(held.receipt)])) == []


async def test_a_single_active_consumer_is_one_process_for_all_parts_of_its_queue(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    spec = QueueSpec(queue, priorities=True, options={"single_active_consumer": True})
    names = [f"{number:02d}" for number in range(40)]
    holders: set[AMQPDriver] = set()
    done: list[str] = []

    async def work(driver: AMQPDriver, number: int) -> None:
        chance = random.Random(number)
        handled = 0
        while len(done) < len(names) and handled < number:
            try:
                got = await driver.receive(queue, chance.randint(1, 3), 0.1)
            except DriverError:
                continue
            for item in got:
                holders.add(driver)
                assert len(holders) == 1, "two processes handle at the same time"
                await asyncio.sleep(0.01)
                if item.attempt == 1 and chance.random() < 0.5:
                    settlement: Settlement = Nack(item.receipt, chance.choice((0.0, 0.1)))
                else:
                    settlement = Ack(item.receipt)
                    done.append(item.id)
                    handled += 1
                holders.discard(driver)
                assert list(await driver.settle(queue, [settlement])) == []
        await driver.close()

    async with driver_at(broker.port, spec) as one, driver_at(broker.port, spec) as two:
        for priority in (0, 5):
            half = names[: len(names) // 2] if priority else names[len(names) // 2 :]
            await one.publish(queue, messages(*half, priority=priority))
        async with asyncio.timeout(SECONDS * 2):
            await asyncio.gather(work(one, 15), work(two, len(names)))
    assert sorted(done) == names


async def test_a_process_that_undeclares_its_queue_waits_for_no_turn(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue, options={"single_active_consumer": True})
    async with driver_at(broker.port, spec) as second, driver_at(broker.port, spec) as third:
        async with driver_at(broker.port, spec) as first:
            await first.publish(queue, messages("a", "b"))
            assert len(await take(first, queue, 2)) == 2
            assert await second.receive(queue, 1, 0.1) == []
            waiting = asyncio.create_task(second.receive(queue, 1, 2 * SECONDS))
            await second.undeclare(queue)
            async with asyncio.timeout(SECONDS):
                (result,) = await asyncio.gather(waiting, return_exceptions=True)
            assert result == [] or isinstance(result, QueueNotFoundError)
        assert len(await take(third, queue, 2)) == 2  # the second process blocks no other


async def test_a_receive_that_waits_for_the_turn_consumes_what_was_declared_meanwhile(
    broker: RabbitMQ, queue: str
) -> None:
    spec = QueueSpec(queue, options={"single_active_consumer": True})
    async with driver_at(broker.port, spec) as second:
        async with driver_at(broker.port, spec) as first:
            await first.publish(queue, messages("a"))
            assert len(await take(first, queue)) == 1
            assert await second.receive(queue, 1, 0.1) == []
            waiting = asyncio.create_task(second.receive(queue, 1, SECONDS))
            await second.declare(replace(spec, priorities=True))
        (got,) = await waiting
        await second.settle(queue, [Ack(got.receipt)])
        await second.publish(queue, messages("urgent", priority=9))
        assert [item.id for item in await take(second, queue)] == ["urgent"]


async def test_the_turn_of_a_single_active_consumer_goes_on_when_its_process_dies(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    spec = QueueSpec(queue, options={"single_active_consumer": True})
    async with driver_at(proxy.port, spec) as one, driver_at(broker.port, spec) as two:
        await two.publish(queue, messages("a", "b", "c"))
        (held,) = await take(one, queue)
        assert await two.receive(queue, 3, 0.2) == []
        proxy.refuse()
        proxy.cut()
        got = await take(two, queue, 3)
        assert [item.id for item in got] == ["a", "b", "c"]
        proxy.serve()
        assert held.receipt not in {item.receipt for item in await _received(one, queue)}
        await two.settle(queue, [Release(item.receipt) for item in got])  # unused here, it is another's turn
        await until(lambda: _is(_number(one, queue), 3), "the turn to come back")


async def _number(driver: AMQPDriver, queue: str) -> int:
    return len(await _received(driver, queue))


async def _received(driver: AMQPDriver, queue: str) -> list[Received]:
    try:
        return await driver.receive(queue, 3, 0.1)
    except DriverError:
        return []


def _noting(sent: list[object], send: Callable[..., None]) -> Callable[..., None]:
    def noting(self: Connection, channel: int, *methods: object) -> None:
        sent.extend(methods)
        send(self, channel, *methods)

    return noting


async def test_a_process_that_was_stopped_starts_nothing_that_others_have_got(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    spec = QueueSpec(queue)
    async with driver_at(proxy.port, spec, heartbeat=1.0) as driver, driver_at(broker.port, spec) as other:
        assert driver.patience == 2.0
        await driver.publish(queue, messages("a", "b"))
        held, buffered = await take(driver, queue, 2)
        await driver.settle(queue, [Release(buffered.receipt)])  # it lies in the process, unused
        stopped = threading.Event()
        driver._guard.current.tell(lambda: stopped.wait(60.0))  # type: ignore[union-attr]
        proxy.cut()  # what the broker does meanwhile
        assert {item.id for item in await take(other, queue, 2)} == {"a", "b"}
        await asyncio.sleep(1.1)  # longer than a heartbeat
        extended = asyncio.create_task(driver.extend(queue, [held.receipt], 30.0))
        received = asyncio.create_task(driver.receive(queue, 2, 0.0))
        await asyncio.sleep(0.05)  # both are asked for before the driver reads that its connection has ended
        stopped.set()
        answers = await asyncio.gather(extended, received, return_exceptions=True)
        assert all(isinstance(answer, DriverError) or not answer or answer == [held.receipt] for answer in answers)
        assert list(await driver.extend(queue, [held.receipt], 30.0)) == [held.receipt]


async def _records(broker: RabbitMQ, queue: str) -> list[str]:
    lines = await asyncio.to_thread(broker.control, "list_queues", "name")
    return [line for line in lines.splitlines() if line.startswith(f"{queue}.failed")]


async def _is(number: Awaitable[object], wanted: object) -> bool:
    return await number == wanted
