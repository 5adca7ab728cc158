"""The window of a consumer that states no prefetch: it follows the speed of its handler."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.fetching.following import MOST, Following, followed
from tasuki.consumers.fetching.window import DeliveryWindow
from tasuki.contracts.driver import Received
from tasuki.contracts.handler import Context
from tasuki.drivers.memory.driver import MemoryDriver
from tests.unit.consumers.parts import Bench, make_bench

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("window", "handled", "seconds", "expected"),
    [
        (10, 1_000, 0.1, 20),  # 10,000/s: it doubles
        (400, 1_000, 0.1, 750),  # 75 ms of work
        (750, 1_000, 0.1, 750),
        (500, 1_000, 0.1, 500),  # 50 ms, and 100 ms: it stays
        (1_000, 1_000, 0.1, 1_000),
        (1_000, 100, 0.1, 75),
        (1_000, 1, 1.0, 1),
        (1_000, 0, 1.0, 1),
    ],
)
def test_a_window_holds_75_ms_of_work(window: int, handled: int, seconds: float, expected: int) -> None:
    assert followed(window, handled, seconds) == expected


class Slow:
    """A handler that takes ``seconds``, which a test changes."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def __call__(self, body: Any, context: Context) -> None:
        await asyncio.sleep(self.seconds)


async def busy(handler: Slow, messages: int, size: int = 1, **options: Any) -> Bench:
    bench = await make_bench(handler, options=ConsumerOptions(follows=True, **options))
    await bench.queue.publish_many(["x" * size] * messages)
    return bench


def window_of(bench: Bench) -> int:
    return bench.run.window.prefetch


async def test_a_fast_handler_gets_a_large_window_and_a_slow_one_keeps_the_least() -> None:
    async with await busy(Slow(0.000_1), 20_000) as fast:
        await asyncio.sleep(1)
        assert 500 <= window_of(fast) <= MOST
    async with await busy(Slow(0.05), 100) as slow:
        await asyncio.sleep(2)
        assert window_of(slow) == 10


async def test_the_window_is_never_below_the_concurrency() -> None:
    async with await busy(Slow(1.0), 500, concurrency=100, prefetch=100) as bench:
        await asyncio.sleep(5)
        assert (window_of(bench), bench.consumer.now.running) == (100, 100)


async def test_a_written_prefetch_stays() -> None:
    bench = await make_bench(Slow(0.000_1), options=ConsumerOptions(prefetch=20))
    await bench.queue.publish_many(range(2_000))
    async with bench:
        await asyncio.sleep(0.1)
        assert window_of(bench) == 20


async def test_large_bodies_keep_it_within_16_mib() -> None:
    async with await busy(Slow(0.000_1), 2_000, size=100_000) as bench:
        largest = 0
        while bench.consumer.metrics.acked < 2_000:
            largest = max(largest, window_of(bench))
            await asyncio.sleep(0.001)
    assert 100 < largest <= 168


async def test_messages_of_a_handler_that_became_slow_go_back_to_other_workers() -> None:
    handler = Slow(0.000_1)
    async with await busy(handler, 50_000) as bench:
        await asyncio.sleep(1)
        assert bench.consumer.now.held > 100
        handler.seconds = 60.0
        await asyncio.sleep(1.2)
        assert (window_of(bench), bench.consumer.now.held) == (10, 11), "one runs, ten wait"
        assert bench.consumer.metrics.unstarted > 100
        bench.run.pool.interrupt()
    seen = [body for body, _ in bench.handler.seen]
    assert len(seen) == bench.consumer.metrics.acked + 1, "what went back was not started"


async def test_a_message_whose_attempts_a_release_raises_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryDriver, "counts_releases", lambda *_: True)
    handler = Slow(0.000_1)
    async with await busy(handler, 50_000) as bench:
        await asyncio.sleep(1)
        handler.seconds = 60.0
        await asyncio.sleep(1.2)
        assert (window_of(bench), bench.consumer.metrics.unstarted) == (10, 0)
        assert bench.consumer.now.held > 100
        bench.run.pool.interrupt()


async def test_few_are_given_back_where_slow_messages_are_rare() -> None:
    handler = Slow(0.000_1)
    async with await busy(handler, 200_000) as bench:
        given = []
        for _ in range(6):
            await asyncio.sleep(1)
            before = bench.consumer.metrics.unstarted
            handler.seconds = 2.0
            await asyncio.sleep(2)
            handler.seconds = 0.000_1
            given.append(bench.consumer.metrics.unstarted - before)
        assert given[0] > 300
        assert given[-1] < given[0] / 4, "each time the window may grow to half as much"


async def test_a_moment_of_standing_still_is_no_slow_handler() -> None:
    now, window, counted = [0.0], DeliveryWindow(10), SimpleNamespace(delivered=0, unstarted=0)
    following = Following(window, counted, lambda: now[0], lambda: 0, lambda number: None)  # type: ignore[arg-type]
    window.prefetch = 500
    accept = following.around_accept(lambda received, asked_at: None)
    for seconds, handled, expected in ((0.06, 10, 500), (0.04, 1_990, 1_000), (0.09, 10, 1_000), (0.02, 10, 13)):
        now[0] += seconds
        counted.delivered += handled
        accept([Received("1", b"", {})], 0.0)
        assert window.prefetch == expected
    following.close()


async def test_an_idle_consumer_has_no_timer() -> None:
    async with await busy(Slow(0.000_1), 5_000) as bench:
        await bench.settled()
        assert window_of(bench) > 10
        await asyncio.sleep(1)
        scheduled: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        assert not [each for each in scheduled if not each.cancelled() and "Following" in repr(each)]


async def test_another_number_of_workers_is_the_least_from_then_on() -> None:
    async with await busy(Slow(1.0), 500) as bench:
        bench.run.resize(40)
        await asyncio.sleep(5)
        assert window_of(bench) == 400


async def test_a_window_of_small_messages_shrinks_for_large_ones() -> None:
    async with await busy(Slow(0.000_1), 5_000) as bench:
        await bench.settled()
        assert window_of(bench) > 500
        await bench.queue.publish_many(["x" * 1_000_000] * 40)
        await asyncio.sleep(0.000_01)
        assert window_of(bench) <= 16


async def test_what_goes_back_does_not_stay_as_a_request_was_under_way() -> None:
    handler = Slow(0.000_1)
    async with await busy(handler, 5_000) as bench:
        await bench.settled()
        handler.seconds = 60.0
        await bench.queue.publish_many(["x"] * 400)
        await asyncio.sleep(2.0)
        held = bench.consumer.now.held
        bench.run.pool.interrupt()
    assert held == 11, "one runs, ten wait"


async def test_messages_that_come_just_after_a_check_are_watched_too() -> None:
    handler = Slow(0.000_1)
    async with await busy(handler, 5_000) as bench:
        await bench.settled()
        await asyncio.sleep(1)
        handler.seconds = 60.0
        await bench.queue.publish("first")
        await asyncio.sleep(0.001)
        following = bench.run.following
        assert following is not None
        following.close()
        following._check()  # it sees an empty buffer, 1 ms after the last sample
        await bench.queue.publish_many(["x"] * 400)
        await asyncio.sleep(2.0)
        held = bench.consumer.now.held
        bench.run.pool.interrupt()
    assert held == 11
