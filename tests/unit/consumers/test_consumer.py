"""The consumer as a service: it starts, works, fails loudly, stops without loss, and starts again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.shared import Share, SharedWorkers
from tasuki.consumers.handling.stack import stacks_of
from tasuki.contracts.driver import Outgoing, Received
from tasuki.contracts.handler import Context
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import (
    BrokerUnavailableError,
    HandlerError,
    LifecycleError,
    QueueFullError,
    QueueNotFoundError,
    StopTimeoutError,
)
from tasuki.testing.clock import VirtualTimeLoop
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import Bench, Gate, ScriptedHandler, clock_of_loop, leased, make_bench, now

pytestmark = pytest.mark.anyio


async def test_holds_no_more_than_prefetch_and_runs_no_more_than_concurrency() -> None:
    gate = Gate()
    bench = await make_bench(gate, options=ConsumerOptions(concurrency=3, prefetch=7))
    await bench.queue.publish_many(list(range(50)))
    async with bench:
        await asyncio.sleep(1)
        assert (bench.consumer.now.held, bench.consumer.now.running, bench.queue.consumer_count) == (7, 3, 1)
        assert (await bench.queue.depth()).in_flight == 7
        gate.open.set()
        await bench.empty()
    assert bench.handler.most_running == 3
    assert sorted(bench.handler.seen) == [(body, 1) for body in range(50)]
    assert (bench.consumer.now.held, bench.consumer.now.running, bench.queue.consumer_count) == (0, 0, 0)


async def test_a_prefetch_below_concurrency_is_raised_to_it() -> None:
    gate = Gate()
    bench = await make_bench(gate, options=ConsumerOptions(concurrency=5, prefetch=2))
    await bench.queue.publish_many(list(range(9)))
    async with bench:
        await asyncio.sleep(1)
        assert bench.consumer.now.running == 5
        gate.open.set()


async def test_no_worker_idles_beside_waiting_messages() -> None:
    """What has been acked early makes room although its handler goes on: the last buffered one must not block it."""

    async def run(body: Any, context: Context) -> None:
        if body == "early":
            context.ack()
            await asyncio.sleep(1)
        if body == "slow":
            await asyncio.sleep(1000)

    bench = await make_bench(run, options=ConsumerOptions(concurrency=8, prefetch=8))
    await bench.queue.publish_many(["slow"] * 6 + ["early", "early", "slow"] + ["quick"] * 20)
    await bench.consumer.start()
    await asyncio.sleep(10)
    assert [body for body, _ in bench.handler.seen].count("quick") == 20
    await bench.stop_late(0)


async def test_a_handler_that_does_not_load_starts_nothing() -> None:
    bench = await make_bench()
    bench.handler.start_error = HandlerError("syntax")
    with pytest.raises(HandlerError, match="syntax"):
        await bench.consumer.start()
    assert (bench.queue.consumer_count, bench.consumer.now.held, bench.consumer.now.running) == (0, 0, 0)
    assert stacks_of(bench.consumer.now.workers, None) == []
    assert bench.consumer.now.deliveries == []


async def test_the_same_consumer_starts_and_stops_a_hundred_times() -> None:
    bench = await make_bench(options=ConsumerOptions(concurrency=3, prefetch=6))
    tasks = len(asyncio.all_tasks())
    for number in range(100):
        await bench.queue.publish(number)
        async with bench:
            await bench.empty()
    assert [body for body, _ in bench.handler.seen] == list(range(100))
    assert len(asyncio.all_tasks()) == tasks
    assert bench.queue.consumer_count == 0


async def test_started_again_after_a_failure_it_lets_go_of_the_first_life() -> None:
    bench = await make_bench(Gate(), options=ConsumerOptions(prefetch=3))
    await bench.begin(1, 2, 3)
    bench.handler.run = None
    with pytest.raises(StopTimeoutError):
        await bench.consumer.start()
    async with bench:
        await bench.empty()
    assert (await bench.queue.info())["message_count"] == 0


async def waiting(bench: Bench) -> asyncio.Task[None]:
    task = asyncio.create_task(bench.consumer.wait())
    await asyncio.sleep(0.1)
    assert not task.done()
    return task


@pytest.mark.parametrize("part", ["worker 0", "worker 2", "fetch", "settle", "timeouts"])
async def test_wait_raises_when_any_part_dies(part: str) -> None:
    """Never alive but idle: the supervisor must learn of it."""
    gate = Gate()
    bench = await make_bench(gate, options=ConsumerOptions(concurrency=3, prefetch=5, handler_timeout=5))
    await bench.queue.publish_many([1, 2, 3])
    await bench.consumer.start()
    wait = await waiting(bench)
    gate.open.set()
    await bench.empty()
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == f"app:consumer {part}"]
    task.cancel()
    with pytest.raises(LifecycleError, match=f"a task of it was cancelled: app:consumer {part}"):
        await wait
    await bench.consumer.stop(1)


async def test_wait_raises_what_the_broker_refuses_for_good() -> None:
    async def trouble(verb: str, when: str) -> None:
        if verb == "receive" and now() > 1:
            raise QueueNotFoundError("deleted underneath")

    bench, _ = await leased(trouble=trouble)
    await bench.consumer.start()
    with pytest.raises(QueueNotFoundError):
        await bench.consumer.wait()
    await bench.consumer.stop(1)


async def test_a_new_handler_takes_what_starts_the_old_one_finishes_what_runs() -> None:
    gate = Gate()
    bench = await make_bench(gate, options=ConsumerOptions(concurrency=1, prefetch=3))
    await bench.queue.publish_many([1, 2, 3])
    new = ScriptedHandler(id="app:new")
    bench.consumer.replace_handler(ScriptedHandler(gate, id="app:before"))
    bench.consumer.replace_handler(bench.handler)
    async with bench:
        await asyncio.sleep(1)
        bench.consumer.replace_handler(new)
        gate.open.set()
        await bench.empty()
    assert bench.handler.seen == [(1, 1)]
    assert new.seen == [(2, 1), (3, 1)]


async def test_a_handler_that_cannot_decode_leaves_the_old_one_in_charge() -> None:
    class Broken(ScriptedHandler):
        def decoder(self, codec: Any) -> Any:
            raise HandlerError("not started")

    bench = await make_bench()
    async with bench:
        with pytest.raises(HandlerError):
            bench.consumer.replace_handler(Broken())
        await bench.queue.publish_many([1, b"raw"])
        await bench.empty()
    assert bench.handler.seen == [(1, 1), (b"raw", 1)]


async def test_shows_what_runs_and_where_it_stands() -> None:
    gate = Gate()
    bench = await make_bench(gate, options=ConsumerOptions(concurrency=2))
    await bench.queue.forward([Outgoing("1", b"1", {})])
    async with bench:
        await asyncio.sleep(1)
        ((delivery, stack),) = stacks_of(bench.consumer.now.workers, None)
        assert bench.consumer.now.deliveries == [delivery]
        assert delivery.received.id == "1"
        assert stack
        gate.open.set()


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


async def test_a_stop_releases_what_has_not_started_newest_first_and_uncounted() -> None:
    gate = Gate()
    bench, broker = await leased(gate, options=ConsumerOptions(concurrency=1, prefetch=5))
    await bench.begin(*range(5))
    stop = asyncio.create_task(bench.consumer.stop(10))
    await asyncio.sleep(0.1)
    assert bench.handler.contexts[0].stopping
    assert not stop.done()
    stored = broker.queues["tasks"].stored
    assert [one.failures for one in stored] == [0, 0, 0, 0, 0]
    batches = [what for verb, what in bench.queue.driver.calls if verb == "settle"]  # type: ignore[attr-defined]
    receipts = [settlement.receipt for batch in batches for settlement in batch]
    assert receipts == sorted(receipts, reverse=True)
    gate.open.set()
    await stop
    assert len(stored) == 4
    assert bench.handler.seen == [(0, 1)]
    assert (bench.consumer.metrics.released, bench.consumer.metrics.acked) == (4, 1)
    async with bench:
        await bench.empty()
    assert bench.handler.seen == [(body, 1) for body in range(5)]


async def test_a_stop_is_over_in_time_though_the_broker_is_away(caplog: pytest.LogCaptureFixture) -> None:
    away = asyncio.Event()

    async def trouble(verb: str, when: str) -> None:
        if away.is_set():
            raise BrokerUnavailableError("away")

    bench, broker = await leased(trouble=trouble, options=ConsumerOptions(concurrency=1, prefetch=5))
    gate = Gate()
    bench.handler.run = gate
    await bench.begin(*range(5))
    away.set()
    gate.open.set()
    started = now()
    await bench.consumer.stop(2)
    assert now() - started < 2 + 5
    assert "the broker did not take the last settlements" in caplog.text
    assert len(broker.ids("tasks")) == 5
    away.clear()
    await asyncio.sleep(30)
    async with bench:
        await bench.empty()


async def test_a_double_stop_and_a_stop_of_what_never_started() -> None:
    bench = await make_bench()
    await bench.consumer.stop(1)
    async with bench:
        pass
    await bench.consumer.stop(1)
    assert bench.queue.consumer_count == 0


async def test_a_second_stop_hurries_the_first_and_both_tell() -> None:
    async def hang(body: Any, context: Context) -> None:
        await asyncio.sleep(3600)

    bench = await make_bench(hang)
    await bench.begin(1)
    first = asyncio.create_task(bench.consumer.stop(60))
    await asyncio.sleep(1)
    await bench.stop_late(0)
    with pytest.raises(StopTimeoutError):
        await first
    assert now() < 5
    assert bench.queue.consumer_count == 0
    assert (await bench.queue.depth()).ready == 1


async def test_a_stop_that_is_cut_short_frees_everything() -> None:
    bench, _ = await leased(Gate())
    await bench.begin(1)
    stop = asyncio.create_task(bench.consumer.stop(60))
    await asyncio.sleep(1)
    stop.cancel()
    await asyncio.wait([stop])
    assert stop.cancelled()
    assert bench.queue.consumer_count == 0
    await asyncio.sleep(1)
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith("app:consumer")]
    assert left == []


def test_the_end_of_the_event_loop_starts_no_handler() -> None:
    """It cancels all tasks; a worker made then would be left behind."""

    async def main() -> list[Bench]:
        share = Share(SharedWorkers(1))
        benches = [await make_bench(Gate()) for _ in range(3)]
        benches[0].consumer.share = benches[1].consumer.share = share
        for bench in benches:
            await bench.queue.publish_many([1, 2])
            await bench.consumer.start()
        await asyncio.sleep(1)
        return benches

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        benches, loop = runner.run(main()), runner.get_loop()
    assert [len(bench.handler.seen) for bench in benches] == [1, 0, 1]
    assert not asyncio.all_tasks(loop)


async def test_a_stop_during_the_start() -> None:
    started = asyncio.Event()

    class Slow(ScriptedHandler):
        async def start(self) -> None:
            started.set()
            await asyncio.sleep(60)

    bench = await make_bench()
    bench.consumer.handler = Slow()
    start = asyncio.create_task(bench.consumer.start())
    await started.wait()
    start.cancel()
    await asyncio.wait([start])
    await bench.consumer.stop(1)
    assert bench.queue.consumer_count == 0
    bench.consumer.handler = bench.handler
    async with bench:
        assert bench.queue.consumer_count == 1


async def test_a_receive_that_ends_after_the_stop_goes_back_untouched() -> None:
    async def deaf(verb: str, when: str) -> None:
        if verb == "receive":
            try:
                await asyncio.sleep(0.3)
            except asyncio.CancelledError:
                await asyncio.sleep(0.2)

    bench, broker = await leased(trouble=deaf)
    await bench.queue.publish_many([1, 2, 3])
    await bench.consumer.start()
    await asyncio.sleep(0.1)
    await bench.consumer.stop(5)
    assert bench.handler.seen == []
    assert [stored.failures for stored in broker.queues["tasks"].stored] == [0, 0, 0]
    assert all(stored.receipt is None for stored in broker.queues["tasks"].stored)
