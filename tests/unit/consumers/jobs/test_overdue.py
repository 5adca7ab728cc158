"""How often a consumer looks for handlers that run too long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.pool import PoolWorker
from tasuki.consumers.jobs.timeouts import Timeouts
from tasuki.contracts.handler import Context, Reject, Retry
from tasuki.errors import BrokerUnavailableError, LifecycleError, StopTimeoutError
from tasuki.observe.events import EventRing
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import clock_of_loop, leased, make_bench, now

pytestmark = pytest.mark.anyio


async def test_a_limit_of_milliseconds_makes_no_more_sweeps() -> None:
    sweeps = 0

    def overdue() -> Iterable[PoolWorker]:
        nonlocal sweeps
        sweeps += 1
        return ()

    async with asyncio.TaskGroup() as group:
        timeouts = Timeouts(overdue, EventRing(lambda: 0.0), lambda work: tasks.append(group.create_task(work)))
        tasks: list[asyncio.Task[None]] = []
        for limit in (None, 0.01, 0.001, 60.0):
            timeouts.keep(limit)
        await asyncio.sleep(10.05)
        (task,) = tasks
        task.cancel()
    assert sweeps == 100


TIMED = ConsumerOptions(handler_timeout=2.0)


async def hang(body: Any = None, context: Context | None = None) -> None:
    await asyncio.sleep(3600)


async def ignore_stops(body: float, context: Context) -> None:
    """Run for this many seconds, whatever is cancelled."""
    end = now() + body
    while now() < end:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(end - now())


async def test_a_handler_that_takes_too_long_is_cancelled_and_its_message_comes_again() -> None:
    cancelled: list[float] = []

    async def run(body: Any, context: Context) -> None:
        try:
            await hang()
        finally:
            cancelled.append(now())

    bench = await make_bench(run, options=TIMED, max_attempts=2)
    await bench.handle(1)
    assert bench.handler.seen == [(1, 1), (1, 2)]
    assert cancelled[0] == pytest.approx(2.1, abs=0.11)
    (letter,) = await bench.dead_letters()
    assert "ran longer than handler_timeout (2s)" in letter.headers["x_last_error"]
    assert bench.consumer.metrics.timed_out == 2


async def test_one_that_is_quick_enough_is_left_alone() -> None:
    async def run(body: Any, context: Context) -> None:
        await asyncio.sleep(1.9)

    bench = await make_bench(run, options=TIMED)
    await bench.handle(1, 2, 3)
    assert bench.consumer.metrics.acked == 3
    assert bench.consumer.metrics.timed_out == 0


@pytest.mark.parametrize("ending", ["another error", "false"])
async def test_what_a_cancelled_handler_makes_of_it_is_a_timeout_still(ending: str) -> None:
    async def run(body: Any, context: Context) -> Any:
        try:
            await hang()
        except asyncio.CancelledError:
            if ending == "false":
                return False
            raise ConnectionError("lost") from None

    bench = await make_bench(run, options=TIMED, max_attempts=1)
    await bench.handle(1)
    (letter,) = await bench.dead_letters()
    assert letter.headers["x_dead_letter_reason"] == "max_attempts"
    assert bench.consumer.metrics.timed_out == (ending != "false")


async def test_one_that_swallows_the_cancellation_and_finishes_is_acked_and_the_next_is_timed_again() -> None:
    async def run(body: Any, context: Context) -> None:
        if body == "swallow":
            try:
                await hang()
            except asyncio.CancelledError:
                await asyncio.sleep(3)
        elif body == "hang":
            await hang()

    bench = await make_bench(run, options=TIMED, max_attempts=1)
    await bench.handle("swallow", "hang", "fine")
    assert bench.consumer.metrics.acked == 2
    assert bench.consumer.metrics.timed_out == 1
    assert [letter.body for letter in await bench.dead_letters()] == [b'"hang"']


async def test_a_timeout_in_the_very_moment_of_the_end_hits_neither_this_nor_the_next() -> None:
    async def run(body: Any, context: Context) -> None:
        (worker,) = bench.run.pool.workers
        if body == 1:
            worker.interrupt("timeout")  # after the last await of the handler
            asyncio.get_running_loop().call_soon(worker.interrupt, "timeout")
        else:
            await asyncio.sleep(1)
            assert worker.cause is None

    bench = await make_bench(run)
    await bench.queue.publish_many([1, 2])
    await bench.consumer.start()
    await bench.empty()
    assert bench.consumer.metrics.acked == 2
    await bench.consumer.stop(1)


async def test_a_handler_that_cancels_its_own_task_is_a_failure_and_ends_the_consumers_wait() -> None:
    async def run(body: Any, context: Context) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    bench = await make_bench(run, max_attempts=2)
    await bench.queue.publish(1)
    for _ in range(2):
        await bench.consumer.start()
        with pytest.raises(LifecycleError, match="a task of it was cancelled: app:consumer worker 0"):
            await bench.consumer.wait()
        await bench.consumer.stop(1)
    (letter,) = await bench.dead_letters()
    assert letter.headers["attempts"] == 2
    assert "the task of the handler was cancelled" in letter.headers["x_last_error"]
    assert (await bench.queue.info())["message_count"] == 0


@pytest.mark.parametrize("ending", ["cancelled", "another error", "false"])
async def test_a_stop_over_its_timeout_hands_back_uncounted(ending: str) -> None:
    stopping: list[bool] = []

    async def run(body: Any, context: Context) -> Any:
        try:
            await hang()
        except asyncio.CancelledError:
            stopping.append(context.stopping)
            if ending == "cancelled":
                raise
            if ending == "false":
                return False
            raise ConnectionError("lost") from None

    bench = await make_bench(run, max_attempts=1)
    await bench.queue.publish(1)
    for _ in range(3):
        await bench.consumer.start()
        await asyncio.sleep(1)
        with pytest.raises(StopTimeoutError, match="handlers that still ran after stop_timeout: 1;"):
            await bench.consumer.stop(2)
    assert bench.handler.seen == [(1, 1)] * 3
    assert stopping == [True] * 3
    assert await bench.dead_letters() == []
    assert (await bench.queue.depth()).ready == 1
    assert bench.consumer.metrics.failed == 0


@pytest.mark.parametrize(
    ("signal", "dead", "left"),
    [(Reject("bad"), 1, 0), (Retry(after=60), 0, 1), (None, 0, 0)],
    ids=["reject", "retry", "ack"],
)
async def test_what_a_handler_says_while_it_is_stopped_counts(signal: Exception | None, dead: int, left: int) -> None:
    async def run(body: Any, context: Context) -> None:
        try:
            await hang()
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)
            if signal is not None:
                raise signal from None

    bench = await make_bench(run)
    await bench.begin(1)
    await bench.stop_late(1)
    assert len(await bench.dead_letters()) == dead
    depth = await bench.queue.depth()
    assert (depth.ready, depth.in_flight, depth.delayed) == (0, 0, left)


@pytest.mark.parametrize("ending", ["ack", "returns", "fails", "rejects"])
async def test_the_message_of_one_that_ignores_everything_is_kept_until_it_ends(ending: str) -> None:
    async def run(body: Any, context: Context) -> None:
        if bench.consumer.metrics.delivered > 1:
            return
        end = now() + 60
        while now() < end:
            try:
                await asyncio.sleep(end - now())
            except asyncio.CancelledError:
                pass
        assert context.stopping
        if ending == "ack":
            context.ack()
        elif ending == "fails":
            raise ValueError("late")
        elif ending == "rejects":
            raise Reject("late")

    bench, broker = await leased(run, options=TIMED)
    await bench.begin(1, seconds=5)
    await bench.stop_late(1)
    assert now() < 9
    assert (bench.consumer.now.held, bench.consumer.now.running) == (0, 0)
    await asyncio.sleep(45)
    assert (await bench.queue.depth()).in_flight == 1, "its lease is kept"
    await asyncio.sleep(10)
    stored = next(iter(broker.queues["tasks"].stored), None)
    assert (stored is None) == (ending in ("ack", "returns"))
    if stored is not None:
        assert (stored.receipt, stored.failures) == (None, 0), "released, unharmed"
        async with bench:
            await bench.empty()


async def test_many_that_end_one_by_one_keep_their_leases_even_while_the_broker_is_away_for_a_moment() -> None:
    async def trouble(verb: str, when: str) -> None:
        if verb in ("extend", "settle") and 37 < now() < 41:
            raise BrokerUnavailableError("away for a moment")

    bench, broker = await leased(ignore_stops, trouble, options=ConsumerOptions(20, 20))
    await bench.queue.publish_many([10.0 + 5 * number for number in range(20)])
    await bench.consumer.start()
    await asyncio.sleep(5)
    await bench.stop_late(1)
    while left := broker.queues["tasks"].stored:
        assert (await bench.queue.depth()).ready == 0, f"{len(left)} still run, and one is given to others"
        await asyncio.sleep(1)
    assert 105 <= now() < 108


async def test_a_stop_that_is_hurried_takes_a_delivery_over_once() -> None:
    bench, broker = await leased(ignore_stops)
    await bench.begin(60.0, seconds=5)
    stops = [asyncio.create_task(bench.consumer.stop(10))]
    await asyncio.sleep(1)
    stops.append(asyncio.create_task(bench.consumer.stop(0)))
    told = await asyncio.gather(*stops, return_exceptions=True)
    assert all("handlers that still ran after stop_timeout: 1;" in str(error) for error in told), told
    assert len([task for task in asyncio.all_tasks() if "overtime" in task.get_name()]) == 1
    while broker.queues["tasks"].stored:
        await asyncio.sleep(1)
    assert not [task for task in asyncio.all_tasks() if "overtime" in task.get_name()]


async def test_the_message_of_one_that_outlasts_the_driver_comes_again() -> None:
    async def trouble(verb: str, when: str) -> None:
        if verb == "extend" and now() > 20:
            raise BrokerUnavailableError("closed")

    bench, _ = await leased(ignore_stops, trouble)
    await bench.begin(60.0, seconds=5)
    await bench.stop_late(1)
    await asyncio.sleep(45)
    assert (await bench.queue.depth()).ready == 1
    assert not [task for task in asyncio.all_tasks() if "overtime" in task.get_name()]


AUTO = ConsumerOptions(auto_ack=True)


async def test_auto_ack_runs_nothing_that_the_broker_has_not_let_go() -> None:
    """At most once: were it run all the same, it would come a second time."""
    lost = [True]

    async def reply_lost(verb: str, when: str) -> None:
        if (verb, when) == ("settle", "before") and lost:
            lost.clear()
            await asyncio.sleep(31)  # the lease ends meanwhile
            raise BrokerUnavailableError("away")

    broker = ModelBroker(clock_of_loop())
    bench = await make_bench(driver=ModelDriver(broker, trouble=reply_lost), options=AUTO)
    await bench.queue.publish(1)
    async with bench:
        bench.consumer.keeper.remove(bench.run.holding)
        await bench.empty()
    assert bench.handler.seen in ([(1, 1)], [(1, 2)])


async def test_auto_ack_that_is_stopped_before_the_handler_runs() -> None:
    async def slow(verb: str, when: str) -> None:
        if (verb, when) == ("settle", "before"):
            await asyncio.sleep(5)

    bench = await make_bench(
        driver=ModelDriver(ModelBroker(clock_of_loop()), trouble=slow),
        options=ConsumerOptions(auto_ack=True, handler_timeout=1.0),
    )
    await bench.queue.publish(1)
    await bench.consumer.start()
    await asyncio.sleep(3)  # longer than the handler's time, which has not begun
    assert bench.consumer.metrics.timed_out == 0
    await bench.stop_late(0.1)
    assert bench.handler.seen == []


async def test_a_worker_that_is_thrown_away_raises_nothing() -> None:
    bench = await make_bench(hang)
    await bench.begin(1)
    (delivery,) = bench.consumer.now.deliveries
    run = bench.run.executor.execute(delivery, PoolWorker())
    run.send(None)
    run.close()
    await bench.stop_late(0)


async def test_auto_ack_at_the_end_of_the_loop() -> None:
    async def slow(verb: str, when: str) -> None:
        if verb == "settle":
            await asyncio.sleep(5)

    bench = await make_bench(driver=ModelDriver(ModelBroker(clock_of_loop()), trouble=slow), options=AUTO)
    await bench.begin(1)
    task = bench.run.pool.workers[0].task
    assert task is not None
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert bench.handler.seen == []
    await bench.consumer.stop(0)
