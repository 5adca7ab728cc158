"""Consumers of a queue whose limit its driver does not keep: tokens and places of its state before each receive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.fetching.limited import LEASE, LeasedPlaces
from tasuki.contracts.driver import Limit, Receipt, Release, Settlement
from tasuki.contracts.handler import Context
from tasuki.contracts.state.store import Store
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError, UnsupportedError
from tasuki.state.records import limit_key
from tasuki.state.shared import SharedState
from tests.support.narrow import present
from tests.unit.consumers.parts import Bench, Gate, clock_of_loop, make_bench, now

pytestmark = pytest.mark.anyio

KEY = limit_key("app:driver", "tasks")


class Here:
    """A thread on the test's own loop, in the same virtual time."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._work())

    def tell(self, what: Callable[[], object]) -> bool:
        asyncio.get_running_loop().call_soon(what)
        return True

    async def call(self, verb: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await verb()

    def stop(self) -> None:
        present(self._task).cancel()


@dataclass
class Shop:
    """Workers of one queue, each its own consumer, on one broker."""

    limit: Limit
    run: Any = None
    options: ConsumerOptions = field(default_factory=ConsumerOptions)
    benches: list[Bench] = field(default_factory=list)
    driver: MemoryDriver = field(init=False)
    state: SharedState = field(init=False)
    calls: list[str] = field(default_factory=list)
    away: bool = False
    starts: list[float] = field(default_factory=list)
    running: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.driver = MemoryDriver("app:driver", clock=clock_of_loop())
        self.state = SharedState(self.driver, "state", clock_of_loop())

    async def open(self, workers: int) -> Store:
        await self.driver.open()
        store = await self.state.store()
        for verb in ("take", "give", "hold", "release"):
            setattr(store, verb, self._counted(verb, getattr(store, verb)))
        for _ in range(workers):
            await self.hire()
        return store

    async def hire(self, driver: MemoryDriver | None = None) -> Bench:
        driver = driver or self.driver
        bench = await make_bench(
            self.handle, driver=driver, state=self.state, options=self.options, worker_limit=self.limit
        )
        self.benches.append(bench)
        await bench.consumer.start()
        limited = present(bench.run.fetcher.limited)
        if limited.places is not None:
            key = limit_key(driver.name, "tasks")
            limited.places = LeasedPlaces(key, present(self.limit.concurrency), clock_of_loop(), thread=Here)
        return bench

    def _counted(self, verb: str, call: Any) -> Any:
        async def counted(*args: Any, **options: Any) -> Any:
            self.calls.append(verb)
            if self.away:
                raise BrokerUnavailableError("the store is unavailable")
            return await call(*args, **options)

        return counted

    async def handle(self, body: Any, context: Context) -> None:
        assert context.attempt == 1, "waiting is no attempt"
        self.starts.append(now())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.run is not None:
                await self.run(body, context)
        finally:
            self.running -= 1

    async def publish(self, count: int) -> None:
        await self.benches[0].queue.publish_many(list(range(count)))

    async def handled(self, count: int, most: float = 600.0) -> float:
        """Seconds until this many have started, and none runs."""
        start = now()
        while len(self.starts) < count or self.running:
            assert now() - start < most
            await asyncio.sleep(0.01)
        return now() - start

    async def close(self) -> None:
        await asyncio.gather(*(bench.consumer.stop(10.0) for bench in self.benches))


async def test_no_more_start_than_the_rate_allows_and_no_fewer() -> None:
    shop = Shop(Limit(10.0, burst=3), options=ConsumerOptions(concurrency=5, prefetch=10))
    await shop.open(workers=4)
    await shop.publish(100)
    took = await shop.handled(100)
    assert 9.6 < took < 10.5
    for first, start in enumerate(shop.starts):
        for last in range(first + 1, len(shop.starts)):
            window = shop.starts[last] - start
            assert last - first + 1 <= 3 + 10.0 * (window + 0.2) + 1e-6
    await shop.close()


async def test_a_queue_that_was_empty_gives_no_second_burst() -> None:
    shop = Shop(Limit(1.0, burst=2), options=ConsumerOptions(concurrency=5, prefetch=10))
    await shop.open(workers=4)
    await asyncio.sleep(300)  # each worker waits for a message
    start = now()
    await shop.publish(10)
    await shop.handled(10)
    assert [round(each - start) for each in shop.starts] == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    await shop.close()


async def test_no_more_run_than_there_are_places() -> None:
    async def work(body: Any, context: Context) -> None:
        await asyncio.sleep(1.0)

    shop = Shop(Limit(concurrency=3), run=work, options=ConsumerOptions(concurrency=2, prefetch=2))
    store = await shop.open(workers=4)
    await shop.publish(30)
    took = await shop.handled(30)
    assert shop.most == 3
    assert 10.0 <= took < 13.0, "a place that becomes free is used"
    await asyncio.sleep(1.0)
    free = [await store.hold(KEY, f"other-{number}", places=3, lease=1.0) for number in range(3)]
    assert None not in free, "no place is left behind"
    await shop.close()


async def test_a_running_handler_keeps_its_place_and_a_killed_worker_does_not() -> None:
    gate = Gate()
    shop = Shop(Limit(concurrency=1), run=gate)
    store = await shop.open(workers=2)
    assert await store.hold(KEY, "killed", places=1, lease=LEASE) is not None
    await shop.publish(2)
    await asyncio.sleep(LEASE - 1.0)
    assert not shop.starts
    await asyncio.sleep(2.0)
    assert len(shop.starts) == 1
    await asyncio.sleep(10 * LEASE)
    assert len(shop.starts) == 1
    assert (await shop.benches[0].queue.depth()).ready == 1, "the other one waits at the broker"
    gate.open.set()
    assert await shop.handled(2) < 1.0
    await shop.close()


@pytest.mark.parametrize("limit", [Limit(1 / 3600, 1), Limit(concurrency=1)], ids=["rate", "concurrency"])
async def test_queues_of_one_name_on_two_drivers_that_share_a_store_share_no_limit(limit: Limit) -> None:
    gate = Gate()
    shop = Shop(limit, run=gate, options=ConsumerOptions(concurrency=5, prefetch=5))
    await shop.open(workers=1)
    other = await shop.hire(MemoryDriver("app:other", clock=clock_of_loop()))
    for bench in (shop.benches[0], other):
        await bench.queue.publish_many([1, 2])
    await asyncio.sleep(5.0)
    assert shop.running == 2, "one of each"
    assert [(await bench.queue.depth()).ready for bench in (shop.benches[0], other)] == [1, 1]
    gate.open.set()
    await shop.close()


async def test_an_empty_queue_costs_its_store_nothing() -> None:
    shop = Shop(Limit(5.0, 2, 2))
    await shop.open(workers=3)
    await shop.publish(4)
    await shop.handled(4)
    await asyncio.sleep(60.0)
    shop.calls.clear()
    await asyncio.sleep(3600.0)
    assert not shop.calls
    await shop.close()


async def test_waiting_for_a_token_asks_when_there_is_one() -> None:
    shop = Shop(Limit(1 / 60, 1))
    await shop.open(workers=1)
    await shop.publish(3)
    await asyncio.sleep(1.0)
    shop.calls.clear()
    await shop.handled(3)
    assert shop.calls.count("take") <= 20, "its receives wait for half a lease at most"
    assert 2 <= shop.benches[0].consumer.metrics.limit_waits <= 20
    await shop.close()


async def test_without_its_store_it_receives_nothing_says_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tasuki.consumer")
    shop = Shop(Limit(100.0, 10, 5))
    await shop.open(workers=1)
    shop.away = True
    await shop.publish(5)
    await asyncio.sleep(3.0)
    consumer = shop.benches[0].consumer
    assert not shop.starts
    assert consumer.now.problem == (
        "it cannot receive: the limit of queue 'app:tasks' cannot be read from its store: the store is unavailable"
    )
    assert [record.getMessage() for record in caplog.records if "the store is unavailable" in record.getMessage()]
    shop.away = False
    await shop.handled(5)
    assert not consumer.now.problem
    assert caplog.records[-1].getMessage() == "consuming again"
    await shop.close()


async def test_a_stop_returns_places_and_messages() -> None:
    gate = Gate()
    shop = Shop(Limit(concurrency=2), run=gate, options=ConsumerOptions(concurrency=1, prefetch=2))
    store = await shop.open(workers=1)
    await shop.publish(3)
    while shop.running < 1:
        await asyncio.sleep(0.01)
    stopping = asyncio.create_task(shop.close())
    await asyncio.sleep(0.5)
    assert await store.hold(KEY, "first", places=2, lease=60.0) is not None, "of the message that had not started"
    assert await store.hold(KEY, "second", places=2, lease=60.0) is None
    gate.open.set()
    await stopping
    assert await store.hold(KEY, "second", places=2, lease=60.0) is not None
    assert (await shop.benches[0].queue.depth()).ready == 2


@pytest.mark.parametrize(("is_late", "tokens"), [(False, 2), (True, 0)], ids=["in time", "too late"])
async def test_a_message_that_never_started_gives_its_token_back(is_late: bool, tokens: int) -> None:
    """Unless it is another worker's by then, which has taken another token for it."""
    gate = Gate()
    shop = Shop(Limit(0.01, 4), run=gate, options=ConsumerOptions(concurrency=1, prefetch=3))
    store = await shop.open(workers=1)
    await shop.publish(3)
    while shop.benches[0].consumer.now.held < 3:
        await asyncio.sleep(0.01)
    assert (await store.take(KEY, 4, rate=0.01, burst=4)).tokens == 1
    settle = shop.driver.settle

    async def too_late(queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        stale = await settle(queue, batch)
        return [each.receipt for each in batch if type(each) is Release] if is_late else stale

    shop.driver.settle = too_late  # type: ignore[method-assign]
    gate.open.set()
    await shop.close()
    assert len(shop.starts) == 1
    assert (await store.take(KEY, 4, rate=0.01, burst=4)).tokens == tokens


async def test_a_message_that_comes_first_and_may_not_start_is_released() -> None:
    shop = Shop(Limit(0.1, 1))
    store = await shop.open(workers=1)
    await asyncio.sleep(5.0)
    await store.take(KEY, 1, rate=0.1, burst=1)  # by another worker
    start = now()
    await shop.publish(1)
    await asyncio.sleep(1.0)
    assert (await shop.benches[0].queue.depth()).ready == 1
    await shop.handled(1)
    assert round(shop.starts[0] - start) == 10
    await shop.close()


async def test_a_message_that_comes_first_is_held_for_a_token_that_comes_at_once() -> None:
    shop = Shop(Limit(10.0, 1))
    store = await shop.open(workers=1)
    await asyncio.sleep(5.0)
    await store.take(KEY, 1, rate=10.0, burst=1)  # by another worker
    start = now()
    await shop.publish(1)
    await shop.handled(1)
    assert 0.09 < shop.starts[0] - start < 0.12
    assert shop.benches[0].consumer.metrics.delivered == 1
    await shop.close()


async def test_places_of_a_store_that_is_away_end_with_their_leases() -> None:
    shop = Shop(Limit(concurrency=1))
    store = await shop.open(workers=1)
    await shop.publish(1)
    while not shop.starts:
        await asyncio.sleep(0.001)
    shop.away = True
    await shop.close()
    shop.away = False
    assert await store.hold(KEY, "other", places=1, lease=1.0) is None
    await asyncio.sleep(LEASE)
    assert await store.hold(KEY, "other", places=1, lease=1.0) is not None


async def test_a_stop_while_the_first_message_waits_for_its_token_loses_nothing() -> None:
    shop = Shop(Limit(0.1, 1))
    store = await shop.open(workers=1)
    await asyncio.sleep(5.0)
    take, begun = store.take, asyncio.Event()

    async def slow(*args: Any, **options: Any) -> Any:
        begun.set()
        await asyncio.sleep(100.0)
        return await take(*args, **options)

    store.take = slow  # type: ignore[method-assign]
    await shop.publish(1)
    await begun.wait()
    await shop.close()
    assert (await shop.benches[0].queue.depth()).ready == 1


async def test_a_stop_between_place_and_token_leaves_no_place_behind() -> None:
    shop = Shop(Limit(1.0, 1, 2))
    store = await shop.open(workers=1)
    begun = asyncio.Event()

    async def never(*args: Any, **options: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    store.take = never  # type: ignore[method-assign]
    await shop.publish(1)
    await begun.wait()
    shop.benches[0].run.fetcher.stop()
    shop.benches[0].run.fetching.cancel()
    await asyncio.sleep(1.0)
    assert None not in [await store.hold(KEY, f"{number}", places=2, lease=1.0) for number in range(2)]
    await shop.close()


async def test_without_a_state_it_says_what_is_missing() -> None:
    bench = await make_bench(worker_limit=Limit(1.0))
    await bench.consumer.start()
    with pytest.raises(UnsupportedError, match="has a limit that its driver does not keep, and no state: store for it"):
        await bench.consumer.wait()
    await bench.consumer.stop(1.0)
