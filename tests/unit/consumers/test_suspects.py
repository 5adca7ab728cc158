"""Messages that may have killed their worker: one at a time, recorded before it starts."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.handling.suspects import PATIENCE, PROCESS_GATE, SuspectGate
from tasuki.contracts.driver import Receipt
from tasuki.contracts.handler import Context
from tasuki.errors import BrokerUnavailableError, StopTimeoutError
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import Bench, clock_of_loop, make_bench, now

pytestmark = pytest.mark.anyio


class Watched:
    """A handler that takes a second, and what ran when."""

    def __init__(self, broker: ModelBroker | None = None) -> None:
        self.order: list[Any] = []
        self.running: set[Any] = set()
        self.together: list[set[Any]] = []

    async def __call__(self, body: Any, context: Context) -> None:
        self.order.append(body)
        self.running.add(body)
        self.together.append(set(self.running))
        await asyncio.sleep(1)
        self.running.discard(body)


async def bench_of(broker: ModelBroker, run: Any, concurrency: int, **options: Any) -> Bench:
    bench = await make_bench(
        run, driver=ModelDriver(broker), options=ConsumerOptions(concurrency, 10, **options), max_attempts=3
    )
    bench.consumer.gate = SuspectGate()
    return bench


async def suspected(broker: ModelBroker, bench: Bench, count: int) -> None:
    """Publish messages whose first worker died with them."""
    await bench.queue.publish_many([f"suspect {number}" for number in range(count)])
    for stored in broker.queues["tasks"].stored:
        stored.suspect = True


def starts(bench: Bench) -> list[Receipt]:
    return [receipt for verb, what in bench.queue.driver.calls if verb == "start" for receipt in what]  # type: ignore[attr-defined]


async def test_one_suspect_at_a_time_and_the_others_go_on_beside_it() -> None:
    broker, run = ModelBroker(clock_of_loop()), Watched()
    bench = await bench_of(broker, run, 4)
    await suspected(broker, bench, 3)
    await bench.handle("a", "b", "c", "d", "e", "f")
    assert all(sum(str(body).startswith("suspect") for body in bodies) <= 1 for bodies in run.together)
    assert max(map(len, run.together)) == 4, "the other workers go on"
    assert sorted(run.order) == ["a", "b", "c", "d", "e", "f", "suspect 0", "suspect 1", "suspect 2"]
    assert [body for body in run.order if body.startswith("suspect")] == ["suspect 0", "suspect 1", "suspect 2"]
    assert len(starts(bench)) == 3, "only suspects are recorded"
    assert bench.consumer.metrics.redelivered == 3


async def test_one_worker_keeps_the_order_and_waits_and_is_neither_stuck_nor_free() -> None:
    """Health would have the worker restarted, which charges the living suspect that the others wait for."""
    broker, run, gate = ModelBroker(clock_of_loop()), Watched(), SuspectGate()
    bench, other = await bench_of(broker, run, 1), await bench_of(broker, run, 1)
    bench.consumer.gate = gate
    await suspected(broker, bench, 2)
    await bench.queue.publish_many(["a", "b"])
    assert gate.take(), "another consumer of this process handles a suspect"
    async with bench:
        await asyncio.sleep(60)
        assert run.order == [], "what comes after a suspect waits with it"
        current = bench.consumer.now
        assert (current.held, current.unsettled, current.has_free_worker) == (4, 0, False)
        gate.free()
        await bench.empty()
        assert bench.consumer.now.has_free_worker
    assert run.order == ["suspect 0", "suspect 1", "a", "b"]
    assert other.handler.seen == []


async def test_a_turn_lasts_until_the_broker_has_the_settlement() -> None:
    """The next suspect may kill the process, and must not take with it the ack of the one before."""
    broker, run = ModelBroker(clock_of_loop()), Watched()
    away = asyncio.Event()

    async def trouble(verb: str, when: str) -> None:
        if verb == "settle" and away.is_set():
            raise BrokerUnavailableError("away")

    bench = await bench_of(broker, run, 2)
    bench.queue.driver.trouble = trouble  # type: ignore[attr-defined]
    await suspected(broker, bench, 2)
    away.set()
    async with bench:
        await asyncio.sleep(10)
        assert run.order == ["suspect 0"]
        away.clear()
        await bench.empty()
    assert run.order == ["suspect 0", "suspect 1"]


async def test_a_handler_that_runs_for_hours_holds_up_no_other_message() -> None:
    """Those that wait are given to no other process, and with one worker what comes after them waits too."""
    gate = SuspectGate()
    long_broker, broker, run = ModelBroker(clock_of_loop()), ModelBroker(clock_of_loop()), Watched()
    is_over = asyncio.Event()

    async def run_long(body: Any, context: Context) -> None:
        await is_over.wait()

    long, bench = await bench_of(long_broker, run_long, 1), await bench_of(broker, run, 1)
    long.consumer.gate = bench.consumer.gate = gate
    await suspected(long_broker, long, 1)
    await suspected(broker, bench, 2)
    await bench.queue.publish_many(["a"])
    async with long:
        await asyncio.sleep(1)
        async with bench:
            await asyncio.sleep(PATIENCE - 5)
            assert run.order == []
            await bench.empty()
            assert run.order == ["suspect 0", "suspect 1", "a"]
        assert gate.take(), "the turn of the long one is over, and all others are"
        gate.free()
        is_over.set()
        await long.empty()
    assert (await long.queue.info())["message_count"] == 0


async def test_no_consumer_with_many_suspects_keeps_another_from_its_turn() -> None:
    broker, run, gate = ModelBroker(clock_of_loop()), Watched(), SuspectGate()
    many = await bench_of(broker, run, 4)
    few = await make_bench(run, driver=ModelDriver(ModelBroker(clock_of_loop())), options=ConsumerOptions(1, 10))
    many.consumer.gate = few.consumer.gate = gate
    await suspected(broker, many, 8)
    await few.queue.publish("mine")
    for stored in few.queue.driver.broker.queues["tasks"].stored:  # type: ignore[attr-defined]
        stored.suspect = True
    async with many:
        await asyncio.sleep(0.5)
        async with few:
            await few.empty()
        await many.empty()
    assert max(map(len, run.together)) == 1, "two consumers of a process share the gate"
    assert run.order.index("mine") <= 2, run.order
    assert len(run.order) == 9


async def test_parked_suspects_keep_their_leases_and_go_back_at_a_stop() -> None:
    broker, run, gate = ModelBroker(clock_of_loop()), Watched(), SuspectGate()
    bench = await bench_of(broker, run, 4)
    bench.consumer.gate = gate
    await suspected(broker, bench, 3)
    assert gate.take()
    async with bench:
        await asyncio.sleep(200)
        assert bench.consumer.now.held == 3
        assert broker.held_by(bench.queue.driver) == 3  # type: ignore[arg-type]
    assert run.order == []
    assert all(stored.receipt is None for stored in broker.queues["tasks"].stored)
    assert [stored.failures for stored in broker.queues["tasks"].stored] == [0, 0, 0]
    gate.free()
    async with bench:
        await bench.empty()
    assert len(run.order) == 3


@pytest.mark.parametrize("problem", ["stale", "away"])
async def test_a_start_that_is_not_recorded_runs_nothing(problem: str) -> None:
    broker, run = ModelBroker(clock_of_loop()), Watched()
    bench = await bench_of(broker, run, 2)
    await suspected(broker, bench, 1)
    start, tries = bench.queue.driver.start, []

    async def cannot(queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        tries.append(now())
        if len(tries) > 3:
            return await start(queue, batch)
        if problem == "away":
            raise BrokerUnavailableError("away")
        broker.queues["tasks"].stored[0].receipt = None  # it comes again at once
        return batch

    bench.queue.driver.start = cannot  # type: ignore[method-assign]
    async with bench:
        await bench.empty()
    assert run.order == ["suspect 0"]
    assert len(tries) == 4
    assert bench.handler.seen == [("suspect 0", 1)]
    assert bench.consumer.metrics.stale == 0
    if problem == "away":
        assert tries[-1] - tries[0] >= 1.5, "no busy loop"


async def test_a_stop_while_the_start_is_recorded() -> None:
    broker, run = ModelBroker(clock_of_loop()), Watched()
    bench = await bench_of(broker, run, 2)
    await suspected(broker, bench, 1)

    async def hang(queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        await asyncio.sleep(3600)
        return ()

    bench.queue.driver.start = hang  # type: ignore[method-assign]
    await bench.consumer.start()
    await asyncio.sleep(1)
    with pytest.raises(StopTimeoutError, match="still ran after stop_timeout"):
        await bench.consumer.stop(0)
    assert run.order == []
    assert broker.queues["tasks"].stored[0].receipt is None
    assert bench.consumer.gate.take(), "the gate is open"


async def test_auto_ack_knows_no_suspects() -> None:
    broker, run = ModelBroker(clock_of_loop()), Watched()
    bench = await bench_of(broker, run, 4, auto_ack=True)
    await suspected(broker, bench, 4)
    async with bench:
        await bench.empty()
        await asyncio.sleep(2)
    assert max(map(len, run.together)) == 4
    assert starts(bench) == []


async def test_a_killer_is_given_up_and_its_neighbors_are_handled() -> None:
    """Ten messages; the handler of the first one dies."""
    broker = ModelBroker(clock_of_loop())
    handled: list[Any] = []
    deaths = 0

    async def run(body: Any, context: Context) -> None:
        if body == 0:
            died.set()
            await asyncio.sleep(3600)
        await asyncio.sleep(0.1)
        handled.append(body)

    first = await bench_of(broker, run, 16)
    await first.queue.publish_many(list(range(10)))
    while broker.ids("tasks"):
        died = asyncio.Event()
        bench = await bench_of(broker, run, 16)
        await bench.consumer.start()
        empty = asyncio.create_task(bench.empty())
        dead = asyncio.create_task(died.wait())
        await asyncio.wait([empty, dead], return_when=asyncio.FIRST_COMPLETED)
        empty.cancel()
        dead.cancel()
        if died.is_set():
            deaths += 1
            bench.queue.driver.dead = True  # type: ignore[attr-defined]
            bench.consumer.keeper.remove(bench.run.holding)
        with suppress(StopTimeoutError):
            await bench.consumer.stop(0)
        await asyncio.sleep(60)
    assert deaths <= 4
    assert set(handled) == set(range(1, 10))
    (letter,) = await first.dead_letters()
    assert (letter.body, letter.headers["x_dead_letter_reason"]) == (b"0", "worker_died")
    assert letter.headers["x_last_error"].startswith("the worker process died 3 times while handling this message")


async def test_the_gate_wakes_waiters_on_other_loops() -> None:
    gate, woken = SuspectGate(), threading.Event()
    assert gate.take()
    assert not gate.take()
    is_waiting = threading.Event()

    async def wait() -> None:
        done = asyncio.Event()
        gate.wait(done.set)
        is_waiting.set()
        await done.wait()
        assert gate.take()
        gate.free()
        woken.set()

    thread = threading.Thread(target=lambda: asyncio.run(wait()))
    thread.start()
    assert is_waiting.wait(10)
    gate.free()
    assert woken.wait(10)
    thread.join()
    assert gate.take()


async def test_who_waits_at_an_open_gate_is_called_at_once() -> None:
    gate, done = SuspectGate(), asyncio.Event()
    gate.wait(done.set)
    async with asyncio.timeout(1):
        await done.wait()


async def test_a_loop_that_was_closed_in_a_suspect_leaves_the_gate_open() -> None:
    gate = SuspectGate()
    thread = threading.Thread(target=lambda: asyncio.run(_take(gate)))
    thread.start()
    thread.join()
    gc.collect()
    assert gate.take()


async def test_who_waits_for_a_loop_that_was_closed_is_called() -> None:
    gate, done = SuspectGate(), asyncio.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_take(gate)))
    thread.start()
    thread.join()
    gate.wait(done.set)
    async with asyncio.timeout(1):
        await done.wait()


async def _take(gate: SuspectGate) -> None:
    assert gate.take()


async def test_a_forked_child_has_an_open_gate() -> None:
    assert PROCESS_GATE.take()
    try:
        child = os.fork()
        if not child:
            os._exit(0 if PROCESS_GATE._holder is None else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not PROCESS_GATE.take()
    finally:
        PROCESS_GATE.free()
