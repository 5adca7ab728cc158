"""Stopping: nothing new starts, what has not started goes back untouched, and it is over in time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.shared import Share, SharedWorkers
from tasuki.contracts.handler import Context
from tasuki.errors import BrokerUnavailableError, StopTimeoutError
from tasuki.testing.clock import VirtualTimeLoop
from tests.unit.consumers.parts import Bench, Gate, ScriptedHandler, leased, make_bench, now

pytestmark = pytest.mark.anyio


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


async def test_a_stop_that_is_cut_short_leaves_no_task_behind() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    bench, _ = await leased()
    await bench.consumer.start()
    await asyncio.sleep(1)
    assert bench.consumer.run is not None
    bench.consumer.run.fetcher.close = hang  # type: ignore[method-assign]
    stop = asyncio.create_task(bench.consumer.stop(10))
    await asyncio.sleep(0.3)
    assert not stop.done()
    stop.cancel()
    await asyncio.wait([stop])
    await asyncio.sleep(0.1)
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("app:consumer")]
    assert left == []
