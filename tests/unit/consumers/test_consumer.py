"""The consumer as a service: it starts, works, fails loudly, stops without loss, and starts again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.stack import stacks_of
from tasuki.contracts.driver import Outgoing
from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError, LifecycleError, QueueNotFoundError, StopTimeoutError
from tests.unit.consumers.parts import Bench, Gate, ScriptedHandler, leased, make_bench, now

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


async def test_a_prefetch_below_concurrency_is_raised_to_it(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    bench = await make_bench(gate, options=ConsumerOptions(concurrency=5, prefetch=2))
    await bench.queue.publish_many(list(range(9)))
    async with bench:
        await asyncio.sleep(1)
        assert bench.consumer.now.running == 5
        gate.open.set()
    assert "prefetch 2 is less than concurrency 5 and was raised to it" in caplog.text


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


async def test_an_idle_consumer_has_no_worker() -> None:
    """A thousand of them, each with a concurrency of a thousand, would be a million tasks."""
    bench = await make_bench(options=ConsumerOptions(concurrency=1000, prefetch=1000))
    async with bench:
        await asyncio.sleep(1)
        names = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("app:consumer")]
    assert sorted(names) == ["app:consumer fetch", "app:consumer settle"]


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


async def test_wait_ends_in_peace_with_a_stop() -> None:
    bench = await make_bench()
    await bench.consumer.start()
    wait = await waiting(bench)
    await bench.consumer.stop(1)
    await wait


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
