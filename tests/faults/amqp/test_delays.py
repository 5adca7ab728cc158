"""RabbitMQ: how late many delayed messages come that are due together, and their order while a purge searches."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, QueueSpec
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.drivers.amqp.limits import TIMES
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.topology import removing as sweep
from tests.faults.amqp.moved import Count, watch, watched
from tests.faults.amqp.rig import driver_at
from tests.faults.amqp.sharing import Share, busy_loops, processor_time
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import messages, take

IS_CAMPAIGN = bool(os.environ.get("CAMPAIGN"))
pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(400)]

TOGETHER = 20_000 if IS_CAMPAIGN else 5_000
"""Messages that are due at one moment."""
LEAD, SPREAD = (59.0, 40.0) if IS_CAMPAIGN else (35.0, 15.0)
"""Seconds from the first publish to that moment, and to the last publish: each batch has another delay."""
BATCH = 50
MOST_LATE = 3.0
"""Seconds within which 99 % are in their queue, beside two busy loops and a worker that takes the messages."""
MOST_PROCESSOR_TIME = 150e-6
"""Of the broker for each message from that moment until it is acked: seconds."""


@pytest.fixture
def own_broker() -> Iterator[RabbitMQ]:
    """A broker with no messages of other tests, which its counts would contain."""
    broker = RabbitMQ()
    try:
        broker.start()
        yield broker
    finally:
        broker.end()


async def test_many_odd_delays_that_end_together_make_one_hop_and_are_in_their_queue_within_three_seconds(
    own_broker: RabbitMQ, queue: str
) -> None:
    """By the broker's clock, in seconds of the machine that the broker, the loops and the worker had between them.

    Where other programs run as well, these have only a share of the machine, and a second of it takes longer.
    """
    assert own_broker.process is not None
    pid = own_broker.process.pid
    async with driver_at(own_broker.port, QueueSpec(queue), request_timeout=60.0) as driver:
        with busy_loops(2) as loops:
            await watch(own_broker)
            due = time.time() + LEAD
            await publish_until(driver, queue, due)
            assert time.time() < due - 2.0, "the machine is too busy to publish in time"
            await asyncio.sleep(due - time.time())
            before, share = processor_time(pid), Share([pid, os.getpid(), *loops])
            async with asyncio.timeout(200):
                got = await taken(driver, queue)
            had, spent = share(), processor_time(pid) - before
        counts = await watched(own_broker)
    assert sorted(got) == sorted(map(str, range(TOGETHER)))
    assert counts[-1].expired == counts[-1].moved == TOGETHER, "one hop each"
    assert not any(count.expired for count in counts if count.time < due), "none is early"
    late = lateness(counts, due, TOGETHER * 99 // 100)
    shown = f"{late:.2f} s by the clock, {late * had:.2f} s of the machine; {spent / TOGETHER * 1e6:.0f} µs each"
    print(shown)
    assert late * had <= MOST_LATE, shown
    assert spent <= MOST_PROCESSOR_TIME * TOGETHER, shown


async def publish_until(driver: AMQPDriver, queue: str, due: float) -> None:
    """Publish messages bit by bit that are due at one moment."""
    begin = time.time()
    places = asyncio.Semaphore(8)

    async def publish(start: int) -> None:
        await asyncio.sleep(max(begin + SPREAD * start / TOGETHER - time.time(), 0.0))
        async with places:
            ids = map(str, range(start, start + BATCH))
            assert not any(await driver.publish(queue, messages(*ids, delay=due - time.time())))

    async with asyncio.TaskGroup() as group:
        for start in range(0, TOGETHER, BATCH):
            group.create_task(publish(start))


async def taken(driver: AMQPDriver, queue: str) -> list[str]:
    """The ids of all messages, received and acked."""
    ids: list[str] = []
    while len(ids) < TOGETHER:
        got = await driver.receive(queue, 500, 1.0)
        ids += [item.id for item in got]
        await driver.settle(queue, [Ack(item.receipt) for item in got])
    return ids


def lateness(counts: Sequence[Count], due: float, number: int) -> float:
    """Seconds from a moment until so many messages were moved."""
    return next(count.time for count in counts if count.moved >= number) - due


async def test_odd_delays_of_one_delay_queue_cost_no_round_trip_but_the_confirm(
    broker: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    ask = Channel.ask

    async def counted(channel: Channel, *methods: Any) -> Any:
        asked.extend(methods)
        return await ask(channel, *methods)

    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages("0", delay=29.05))
        monkeypatch.setattr(Channel, "ask", counted)
        for number in range(1, 90):
            assert not any(await driver.publish(queue, messages(str(number), delay=29.05 + number / 100)))
        assert asked == []
        assert await driver.purge(queue) == 90


async def test_a_message_of_high_priority_holds_back_no_delayed_message_that_is_due_before_it(
    broker: RabbitMQ, queue: str
) -> None:
    """RabbitMQ 4.0 to 4.2 serve messages of a priority above 4 before others, and look at that head only."""
    async with driver_at(broker.port, QueueSpec(queue, priorities=True)) as driver:
        await driver.publish(queue, messages("first", delay=8.9))
        await asyncio.sleep(6.0)
        await driver.publish(queue, messages("second", delay=8.9, priority=9))
        assert [item.id for item in await take(driver, queue, 1)] == ["first"]
        assert await driver.purge(queue) == 1


async def test_what_arrives_during_a_sweep_does_not_overtake_what_the_sweep_holds(
    broker: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_MOST", 5)  # as many as there are: the first consumer has no room for more
    fill, flush = sweep._fill, sweep._flush
    other, to_publish, pauses = f"{queue}-other", ["last"], list[float]()

    async def fill_and_publish(channel: Channel, place: str, fetched: sweep.Fetched, most: int) -> bool:
        is_empty = await fill(channel, place, fetched, most)
        if to_publish:
            assert not any(await driver.publish(other, messages(to_publish.pop(), delay=4.0)))
            pauses.append(4.5)  # longer than a message lies in this delay queue
        return is_empty

    async def only(connection: object) -> list[sweep.Place]:  # to search all takes longer than that on a busy machine
        return [(TIMES.index(40), 0)]

    async def flush_late(channel: Channel) -> None:
        await flush(channel)
        await asyncio.sleep(pauses.pop() if pauses else 0.0)

    async with driver_at(broker.port, QueueSpec(queue), QueueSpec(other)) as driver:
        await driver.publish(other, messages("0", "1", "2", "3", delay=4.0))
        await driver.publish(queue, messages("gone", delay=4.0))
        monkeypatch.setattr(sweep, "_existing", only)
        monkeypatch.setattr(sweep, "_fill", fill_and_publish)
        monkeypatch.setattr(sweep, "_flush", flush_late)
        assert await driver.purge(queue) == 1
        assert [item.id for item in await take(driver, other, 5)] == ["0", "1", "2", "3", "last"]
