"""RabbitMQ: what many delayed messages that are due together cost, and their order while a purge searches."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.amqp.delays import delay_queues
from tasuki.drivers.amqp.delays import delay_removal as sweep
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.drivers.amqp.limits import STEP, TIMES
from tasuki.drivers.amqp.protocol.channel import Channel
from tests.faults.amqp.rig import driver_at
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

TOGETHER = 20_000
"""Messages that are due at one moment."""
LEAD, SPREAD = 60.0, 40.0
"""Seconds from the first publish to that moment, and to the last publish: some 80 different delays."""
MOST_SECONDS = 3.0
"""Of the broker's processor time from that moment until 99 % are in their queue: seconds, where it has a core."""
LAST = [index for index, steps in enumerate(TIMES) if 8.0 <= steps * STEP <= LEAD]
"""Times of the delay queues that such messages pass last."""


async def test_many_odd_delays_that_end_together_have_one_hop_left_and_cost_three_seconds_of_a_core(
    broker: RabbitMQ, queue: str
) -> None:
    assert broker.process is not None
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        begin = time.monotonic()
        due = begin + LEAD
        for start in range(0, TOGETHER, 100):
            await asyncio.sleep(max(begin + SPREAD * start / TOGETHER - time.monotonic(), 0.0))
            ids = map(str, range(start, start + 100))
            assert not any(await driver.publish(queue, messages(*ids, delay=max(due - time.monotonic(), 0.1))))
        await asyncio.sleep(max(due - 2.0 - time.monotonic(), 0.0))
        waiting = await lying_in(broker, LAST)
        assert sum(waiting) >= TOGETHER, "the last hop only is left"
        assert max(waiting) <= TOGETHER / delay_queues.SHARDS * 1.5, "a queue moves 32 at a time"
        await asyncio.sleep(max(due - time.monotonic(), 0.0))
        before = processor_time(broker.process.pid)
        async with asyncio.timeout(120):
            await arrived(driver, queue, TOGETHER * 99 // 100)
            spent = processor_time(broker.process.pid) - before
            await arrived(driver, queue, TOGETHER)
        assert await driver.purge(queue) == TOGETHER
    assert spent <= MOST_SECONDS, f"{spent:.2f} s of processor time"


async def lying_in(broker: RabbitMQ, times: list[int]) -> list[int]:
    """How many messages lie in each delay queue of these times, as the broker counts them."""
    listed = await asyncio.to_thread(broker.control, "list_queues", "name", "messages", "--no-table-headers")
    counts = dict(line.split("\t") for line in listed.splitlines())
    names = [delay_queues.queue_name(time, shard) for time in times for shard in range(delay_queues.SHARDS)]
    return [int(counts.get(name, 0)) for name in names]


async def arrived(driver: AMQPDriver, queue: str, number: int) -> None:
    """Wait until so many messages are ready in a queue that nothing consumes."""
    while (await driver.depth(queue)).ready < number:
        await asyncio.sleep(0.05)


def processor_time(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
