"""RabbitMQ: queues that are purged and deleted while others have messages put off, and queues of processes that die."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pamqp import commands

from tasuki.contracts.driver import Ack, Kept, Nack, Outgoing, QueueSpec
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.drivers.amqp.faults import NOT_FOUND, ClosedError
from tasuki.drivers.amqp.publishing import delay_queues
from tasuki.drivers.amqp.topology import queue_arguments as topology
from tasuki.drivers.amqp.topology import removing as sweep
from tasuki.drivers.amqp.topology.queue_arguments import GIVEN_UP
from tasuki.errors import BrokerTimeoutError, DriverError, QueueConflictError, QueueNotFoundError
from tasuki.testing.proxy import Proxy
from tests.faults.amqp.rig import driver_at, hand_at, ready
from tests.support.asker import QUEUE, asker
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import IMPATIENT, SECONDS, messages, take, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def is_there(port: int, queue: str) -> bool:
    """Whether the broker has a queue."""
    try:
        await ready(port, queue)
    except ClosedError as error:
        if error.code != NOT_FOUND:
            raise
        return False
    return True


async def test_a_purge_takes_what_other_processes_have_put_off_and_leaves_what_is_for_others(
    broker: RabbitMQ, queue: str
) -> None:
    other = f"{queue}-other"
    specs = (QueueSpec(queue), QueueSpec(other))
    async with driver_at(broker.port, *specs) as driver, driver_at(broker.port, *specs) as second:
        await second.publish(queue, messages("held", "nacked"))
        held, nacked = await take(second, queue, 2)
        await second.settle(queue, [Nack(nacked.receipt, 60.0)])
        for number in range(20):  # for both queues by turns, in several delay queues
            await driver.publish(queue, messages(f"gone-{number}", delay=4.0 + number / 10))
            await second.publish(queue, messages(f"gone-too-{number}", delay=100.0))
            await second.publish(other, messages(f"{number:02d}", delay=4.0 + number / 10))
        assert driver.kept(queue) != Kept()
        assert await driver.purge(queue) == 41
        assert (driver.kept(queue), (await driver.depth(queue)).ready) == (Kept(), 0)
        got = await take(driver, other, 20)
        assert sorted((item.id, item.attempt) for item in got) == [(f"{number:02d}", 1) for number in range(20)]
        await driver.settle(other, [Ack(item.receipt) for item in got])
        await second.settle(queue, [Nack(held.receipt)])
        assert [item.id for item in await take(driver, queue)] == ["held"]
        assert await driver.receive(queue, 10, 1.0) == []


async def test_a_purge_or_delete_of_a_queue_that_never_delayed_touches_no_delayed_message(
    broker: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delay_queues, "_MARKS", 2**32)  # no queue of another test shares its mark
    plain, late = QueueSpec(queue, priorities=True, ordering="key"), QueueSpec(f"{queue}-late")
    async with driver_at(broker.port, plain, late) as driver:
        await driver.publish(late.name, messages(*map(str, range(40)), delay=60.0))
        await driver.publish(queue, messages("a", priority=5) + messages("b", key="k"))
        before = await asyncio.to_thread(delivered, broker)
        assert await driver.purge(queue) == 2
        await driver.delete(queue)
        assert await asyncio.to_thread(delivered, broker) == before
        assert await driver.purge(late.name) == 40
        assert await asyncio.to_thread(delivered, broker) >= before + 40


def delivered(broker: RabbitMQ) -> int:
    """How many messages the broker has ever delivered to consumers, as it counts them itself."""
    counts = "[Count || #{messages_delivered_total := Count} <- maps:values(rabbit_global_counters:overview())]"
    return int(broker.control("eval", f"lists:sum({counts})."))


async def test_sweeps_side_by_side_take_all_that_is_theirs(broker: RabbitMQ, queue: str) -> None:
    names = [f"{queue}-{number}" for number in range(3)]
    specs = [QueueSpec(name) for name in names]
    async with (
        driver_at(broker.port, *specs) as one,
        driver_at(broker.port, *specs) as two,
        driver_at(broker.port, *specs) as three,
    ):
        for number in range(20):
            for name in names:
                await one.publish(name, messages(f"{number}", delay=50.0))
        purges = (one.purge(names[0]), two.purge(names[1]), three.purge(names[2]))
        assert list(await asyncio.gather(*purges)) == [20, 20, 20]


async def test_a_sweep_that_is_longer_than_one_consumer_can_hold(
    broker: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_MOST", 7)
    other = f"{queue}-other"
    async with driver_at(broker.port, QueueSpec(queue), QueueSpec(other)) as driver:
        for number in range(30):  # in one delay queue: none moves on meanwhile
            await driver.publish(queue, messages(f"{number}", delay=8.0))
            await driver.publish(other, messages(f"{number:02d}", delay=8.0))
        assert await driver.purge(queue) == 30
        assert [item.id for item in await take(driver, other, 30)] == [f"{number:02d}" for number in range(30)]


async def test_a_purge_that_is_cut_off_loses_nothing_of_others(broker: RabbitMQ, proxy: Proxy, queue: str) -> None:
    other = f"{queue}-other"
    specs = (QueueSpec(queue), QueueSpec(other))
    async with driver_at(proxy.port, *specs) as driver, driver_at(broker.port, *specs) as second:
        for _ in range(5):
            await second.publish(queue, messages("a", delay=60.0))
            await second.publish(other, messages(*map(str, range(40)), delay=3.0))
        for pause in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05):
            purging = asyncio.create_task(driver.purge(queue))
            await asyncio.sleep(pause)  # cut at several places of its way
            proxy.cut()
            await asyncio.gather(purging, return_exceptions=True)
            await connected(driver, queue)
        got = await take(second, other, 200)
        assert {item.id for item in got} == set(map(str, range(40)))
        assert await second.purge(queue) <= 5
        assert await second.purge(queue) == 0


async def test_a_purge_that_is_cancelled_changes_nothing_for_others(broker: RabbitMQ, queue: str) -> None:
    other = f"{queue}-other"
    async with driver_at(broker.port, QueueSpec(queue), QueueSpec(other)) as driver:
        await driver.publish(queue, messages("a", delay=60.0))
        for _ in range(5):
            await driver.publish(other, messages(*map(str, range(40)), delay=3.2))
        for pause in range(10):
            purging = asyncio.create_task(driver.purge(queue))
            await asyncio.sleep(pause / 200)
            purging.cancel()
            await asyncio.gather(purging, return_exceptions=True)
        got = await take(driver, other, 200)
        assert {item.attempt for item in got} == {1}
        assert await driver.purge(queue) <= 1
        assert await driver.purge(queue) == 0


async def connected(driver: AMQPDriver, queue: str) -> None:
    """Wait until the driver is connected again."""

    async def is_back() -> bool:
        try:
            await driver.depth(queue)
        except DriverError:
            return False
        return True

    await until(is_back, "the driver to be connected")


async def test_no_purge_waits_for_ever_for_another_one(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue), request_timeout=IMPATIENT) as driver:
        await driver.publish(queue, messages("a", delay=60.0))
        async with hand_at(broker.port) as channel:
            await channel.ask(commands.Queue.Declare(queue=sweep._TURN, exclusive=True))
            with pytest.raises(BrokerTimeoutError):
                await driver.purge(queue)
        assert await driver.purge(queue) == 1


async def test_a_purge_takes_what_rests_with_its_key(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue, ordering="key")) as driver:
        await driver.publish(queue, messages("a", "b", key="k"))
        (first,) = await take(driver, queue)
        await driver.settle(queue, [Nack(first.receipt, 60.0)])
        assert await driver.purge(queue) == 2
        await driver.publish(queue, messages("c", key="k"))
        assert [(item.id, item.attempt) for item in await take(driver, queue)] == [("c", 1)]


async def test_a_deleted_queue_leaves_nothing_at_the_broker(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue, priorities=True, ordering="key")
    parts = ["", ".returned", *(f".p{n}" for n in range(1, 10)), *(f".k{n}" for n in range(16))]
    async with driver_at(broker.port, spec) as driver:
        before = await ready(broker.port, GIVEN_UP)
        await driver.publish(queue, messages("late", delay=1.0))
        await driver.publish(queue, messages("a", priority=5) + messages("b", key="k"))
        await take(driver, queue, 2)
        await driver.delete(queue)
        assert [part for part in parts if await is_there(broker.port, queue + part)] == []
        with pytest.raises(QueueNotFoundError):
            await driver.depth(queue)
        await driver.declare(spec)
        assert await driver.receive(queue, 10, 2.5) == []
        assert await ready(broker.port, GIVEN_UP) == before


async def test_a_delete_that_fails_leaves_the_queue_declared(broker: RabbitMQ, proxy: Proxy, queue: str) -> None:
    async with driver_at(proxy.port, QueueSpec(queue)) as driver:
        proxy.refuse()
        with pytest.raises(DriverError) as problem:
            await driver.delete(queue)
        assert problem.value.retryable
        proxy.serve()
        await connected(driver, queue)
        await driver.delete(queue)
        assert not await is_there(broker.port, queue)


async def test_what_another_process_puts_off_for_a_deleted_queue_is_an_error_or_kept(
    broker: RabbitMQ, queue: str
) -> None:
    spec = QueueSpec(queue)
    async with driver_at(broker.port, spec) as one, driver_at(broker.port, spec) as two:
        await one.delete(queue)
        with pytest.raises(QueueNotFoundError):
            await two.publish(queue, messages("a", delay=0.1))
        await two.declare(spec)
        assert not await two.publish(queue, messages("b", delay=0.1))
        assert [item.id for item in await take(two, queue)] == ["b"]


async def test_a_killed_asker_leaves_no_queue(broker: RabbitMQ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "KEPT", 2.0)
    fields = {"url": broker.url}
    async with driver_at(broker.port, QUEUE) as answerer:
        with asker(AMQPDriver, fields, {f"{topology.__name__}.KEPT": 2.0}) as process:
            assert await asyncio.to_thread(process.line) == "there"
            await asyncio.sleep(3.0)  # longer than it is kept without use
            assert not await answerer.publish(QUEUE.name, [Outgoing("r", b"reply", {})])
            assert await asyncio.to_thread(process.line) == "reply"
            await asyncio.to_thread(process.kill)

        async def is_gone() -> bool:  # by a message: who looks at a queue uses it
            try:
                return bool(await answerer.publish(QUEUE.name, messages("late")))
            except QueueNotFoundError:
                return True

        await until(is_gone, "the queue to end")
        assert not await is_there(broker.port, QUEUE.name)
        assert answerer.durability == "power"


async def test_a_reconnect_makes_no_queue_of_a_process_that_is_gone(broker: RabbitMQ, proxy: Proxy, queue: str) -> None:
    own, foreign = QueueSpec(f"{queue}-own", temporary=True), QueueSpec(f"{queue}-foreign", temporary=True)
    async with driver_at(proxy.port, own, QueueSpec(queue)) as driver:
        async with driver_at(broker.port, own, foreign) as second:
            await driver.inspect(foreign)
            await second.delete(own.name)
            await second.delete(foreign.name)
        proxy.cut()
        await connected(driver, queue)
        assert await is_there(broker.port, own.name)
        assert not await is_there(broker.port, foreign.name)


async def test_a_queue_cannot_be_a_part_of_another(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue), QueueSpec(f"{queue}-b.p1")) as driver:
        for name in (f"{queue}.returned", f"{queue}.p9", f"{queue}.k12"):
            with pytest.raises(QueueConflictError, match="part of the queue"):
                await driver.declare(QueueSpec(name))
        with pytest.raises(QueueConflictError, match=f"'{queue}-b.p1' is the name of a part"):
            await driver.declare(QueueSpec(f"{queue}-b"))
        for name in (f"{queue}.p10", f"{queue}.p", f"{queue}.returned.x", f"{queue}.k"):
            await driver.declare(QueueSpec(name))


async def test_without_heartbeats_a_frozen_broker_fills_no_memory(broker: RabbitMQ, proxy: Proxy, queue: str) -> None:
    async with driver_at(proxy.port, QueueSpec(queue), heartbeat=0.0, request_timeout=IMPATIENT) as driver:
        await driver.publish(queue, messages("a"))
        proxy.silence()
        body = bytes(2 * 2**20)
        for _ in range(5):
            with pytest.raises(DriverError):
                await driver.publish(queue, [Outgoing("b", body, {})])
        connection = driver._inner._guard.current.publishing.publisher._link.connection  # type: ignore[attr-defined]
        assert connection is None  # given up, with all data written to it
        with pytest.raises(DriverError):
            await driver.depth(queue)
        proxy.serve()

        async def is_taken() -> bool:
            try:
                return not any(await driver.publish(queue, messages("c")))
            except DriverError:
                return False

        async with asyncio.timeout(SECONDS):
            await until(is_taken, "the broker to take messages again")


async def test_many_reply_queues_leave_nothing_here_and_at_the_broker(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port) as requester, driver_at(broker.port) as responder:
        known: list[dict[str, int]] = []
        for number in range(40):
            reply = QueueSpec(f"{queue}-reply-{number}", temporary=True)
            await requester.declare(reply)
            await responder.inspect(reply)
            assert not any(await responder.publish(reply.name, messages("a", delay=0.1 * (number % 2))))
            (got,) = await take(requester, reply.name)
            await requester.settle(reply.name, [Ack(got.receipt)])
            await responder.undeclare(reply.name)
            await requester.delete(reply.name)
            known.append({**sizes(requester, "requester"), **sizes(responder, "responder")})
        assert known[-1] == known[9], "nothing grows with the number of reply queues"
        left = await asyncio.to_thread(broker.control, "list_queues", "name")
        assert f"{queue}-reply" not in left


def sizes(driver: AMQPDriver, name: str) -> dict[str, int]:
    """How much each part of a driver remembers."""
    inner: Any = driver._inner
    session = inner._guard.current
    publishing, publisher = session.publishing, session.publishing.publisher
    connections = [link.connection for link in (session.link, publisher._link) if link.connection is not None]
    parts = [driver, inner, inner._known, session, publishing, publisher, publisher._delaying]
    return {
        f"{name} {index} {type(part).__name__}.{key}": len(value)
        for index, part in enumerate([*parts, *connections])
        for key, value in vars(part).items()
        if isinstance(value, dict | set | list) and key != "_due"  # which is bounded
    }
