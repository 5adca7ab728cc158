"""The consumer where leases end, sessions are lost, queues are full and dead-letter queues are unavailable."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.contracts.driver import Received
from tasuki.contracts.handler import Context
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError, QueueFullError
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import clock_of_loop, leased, make_bench, now

pytestmark = pytest.mark.anyio


async def test_more_attempts_than_allowed_are_dead_lettered_without_running() -> None:
    """It has killed the worker process each time."""
    bench, broker = await leased(max_attempts=2)
    await bench.queue.publish(1)
    broker.queues["tasks"].stored[0].failures = 2
    async with bench:
        await bench.empty()
    assert bench.handler.seen == []
    (letter,) = await bench.dead_letters()
    assert (letter.headers["x_dead_letter_reason"], letter.headers["attempts"]) == ("worker_died", 3)
    assert "the worker process died 2 times while handling this message" in letter.headers["x_last_error"]


async def test_a_lost_lease_is_not_started_and_a_running_handler_sees_it() -> None:
    seen: list[bool] = []

    async def run(body: Any, context: Context) -> None:
        await asyncio.sleep(20)
        seen.append(context.delivery.lease_lost)

    bench, broker = await leased(run, options=ConsumerOptions(concurrency=1, prefetch=3))
    await bench.begin(1, 2, 3)
    thief = ModelDriver(broker)
    for stored in broker.queues["tasks"].stored:
        stored.lease_until = 0.0
    assert len(await thief.receive("tasks", 7, 0)) == 3
    await asyncio.sleep(25)
    assert seen == [True]
    assert bench.handler.seen == [(1, 1)]
    metrics = bench.consumer.metrics
    assert metrics.stale == 3
    assert metrics.lease_lost == 3
    assert len(broker.ids("tasks")) == 3
    await bench.consumer.stop(1)


async def test_a_buffered_message_whose_lease_ran_out_is_not_started() -> None:
    async def run(body: Any, context: Context) -> None:
        await asyncio.sleep(40)

    bench, _ = await leased(run, options=ConsumerOptions(concurrency=1, prefetch=2))
    await bench.queue.publish_many([1, 2])
    await bench.consumer.start()
    bench.consumer.keeper.remove(bench.run.holding)  # the keeper hangs
    await asyncio.sleep(39)
    assert bench.handler.seen == [(1, 1)]
    await asyncio.sleep(2)
    assert bench.consumer.metrics.lease_lost == 1
    assert bench.handler.seen[1:] == [(2, 1)]  # released in time all the same: no other receiver had taken it
    await bench.stop_late(0)


class SlowDriver(ModelDriver):
    """Its answers with messages take longer than a lease."""

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        found = await super().receive(queue, limit, wait)
        if found:
            await asyncio.sleep(40)
        return found


async def test_a_message_that_was_longer_on_its_way_than_its_lease_is_not_started() -> None:
    broker = ModelBroker(clock_of_loop())
    bench = await make_bench(driver=SlowDriver(broker), options=ConsumerOptions(concurrency=1, prefetch=1), lease=30.0)
    await bench.queue.publish(1)
    await bench.consumer.start()
    bench.consumer.keeper.remove(bench.run.holding)  # else it asks the broker, which may renew the lease after all
    await asyncio.sleep(60)
    assert bench.handler.seen == []
    assert bench.consumer.metrics.lease_lost == 1
    await bench.consumer.stop(1)


class SessionDriver(ModelDriver):
    """Of a broker without leases: deliveries hang on its connection, and go to others after ten seconds of silence."""

    capabilities = ModelDriver.capabilities.without("leases")
    patience = 10.0


@pytest.mark.parametrize("notices", ["the pause", "the lost session"])
async def test_what_a_session_has_lost_is_not_started(notices: str) -> None:
    async def run(body: Any, context: Context) -> None:
        if body == 1:
            await asyncio.sleep(20)
            seen.append(context.delivery.lease_lost)

    seen: list[bool] = []
    broker = ModelBroker(clock_of_loop())
    driver = SessionDriver(broker)
    bench = await make_bench(run, driver=driver, options=ConsumerOptions(concurrency=1, prefetch=3), lease=1000.0)
    await bench.queue.publish_many([1, 2, 3])
    await bench.consumer.start()
    await asyncio.sleep(5)
    if notices == "the pause":
        bench.consumer.keeper.remove(bench.run.holding)  # the whole process stands
    for stored in broker.queues["tasks"].stored:
        stored.lease_until = 0.0
    assert len(await SessionDriver(broker).receive("tasks", 7, 0)) == 3
    await asyncio.sleep(30)
    assert bench.handler.seen == [(1, 1)]
    assert seen == [notices == "the lost session"]
    await bench.consumer.stop(1)


async def test_a_settlement_is_tried_for_as_long_as_it_takes_where_no_lease_ends() -> None:
    async def trouble(verb: str, when: str) -> None:
        if verb == "settle" and now() < 500:
            raise BrokerUnavailableError("a memory alarm")

    broker = ModelBroker(clock_of_loop())
    bench = await make_bench(driver=SessionDriver(broker, trouble=trouble), lease=1.0)
    await bench.queue.publish(1)
    async with bench:
        await asyncio.sleep(499)
        assert bench.consumer.now.held == 1
        await bench.empty()
    assert bench.handler.seen == [(1, 1)]
    assert broker.queues["tasks"].acked


async def test_a_handler_that_publishes_to_its_own_full_queue_fails_and_does_not_hang() -> None:
    async def run(body: Any, context: Context) -> None:
        if body != "more":
            await context.publish("tasks", "more", publish_timeout="5s")

    bench = await make_bench(run, max_length=2, max_attempts=1)
    await bench.handle(1, 2)
    (letter,) = await bench.dead_letters()
    assert letter.body == b"1"
    assert letter.headers["x_last_error"].startswith(QueueFullError.__name__)
    assert bench.handler.seen == [(1, 1), (2, 1), ("more", 1)]
    assert 5 <= now() < 6


async def test_a_full_dead_letter_queue_costs_no_attempt_and_keeps_the_handlers_error() -> None:
    async def fail(body: Any, context: Context) -> None:
        if body != "fine":
            raise ValueError("out of stock")

    bench = await make_bench(
        fail,
        max_attempts=2,
        dead_options={"max_length": 1, "overflow": "reject"},
        options=ConsumerOptions(concurrency=2, prefetch=3),
    )
    await bench.queue.publish_many([1, 2, 3, 4])
    async with bench:
        await asyncio.sleep(600)
        assert sorted(bench.handler.seen) == [(body, attempt) for body in (1, 2, 3, 4) for attempt in (1, 2)]
        assert bench.consumer.now.unsettled == 0, "their settlements are pending, and a restart would not help"
        await bench.queue.publish("fine")
        await asyncio.sleep(1)
        assert ("fine", 1) in bench.handler.seen, "the other messages go on"
        letters: list[Any] = []
        while len(letters) < 4:
            if found := await bench.dead_letters():  # the queue is full: none comes until it is emptied
                letters += found
                await bench.dead.purge()
            await asyncio.sleep(1)
        assert (await bench.queue.info())["message_count"] == 0
    assert len(bench.handler.seen) == 9
    assert sorted(each.body for each in letters) == [b"1", b"2", b"3", b"4"]
    headers = letters[-1].headers
    assert (headers["x_dead_letter_reason"], headers["attempts"]) == ("max_attempts", 2)
    assert headers["x_last_error"] == "ValueError: out of stock"


async def test_a_message_that_was_kept_for_its_dead_letter_and_lost_meanwhile_is_no_dead_letter() -> None:
    async def fail(body: Any, context: Context) -> None:
        raise ValueError("out of stock")

    async def trouble(verb: str, when: str) -> None:
        if (verb == "extend" and 10 < now() < 60) or (verb == "receive" and now() > 10):
            raise BrokerUnavailableError("away")

    full = {"max_length": 1, "overflow": "reject"}
    driver = MemoryDriver("app:dead", clock=clock_of_loop())
    bench, broker = await leased(fail, trouble, max_attempts=1, dead_driver=driver, dead_options=full)
    other = await make_bench(driver=ModelDriver(broker), dead_driver=driver, dead_options=full)
    await bench.dead.publish("in the way")
    await bench.queue.publish(1)
    async with bench:
        await asyncio.sleep(5)
        async with other:
            await asyncio.sleep(95)
            assert other.handler.seen == [(1, 1)]
        await bench.dead.purge()
        await asyncio.sleep(20)
        assert await bench.dead_letters() == []
        assert bench.consumer.now.held == 0
