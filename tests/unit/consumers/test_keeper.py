"""The keeper lives in its own thread, so these tests are in real time, with leases as short as they can be."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.clock import SystemClock
from tasuki.consumers.definition import ConsumerOptions
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.fetching.keeper import Holding, Keeper, lease_of
from tasuki.contracts.driver import SILENCE, Driver, Receipt, Received
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.errors import BrokerUnavailableError
from tasuki.observe.metrics import ConsumerMetrics
from tasuki.system import loop_thread
from tasuki.system.loop_thread import new_event_loop
from tasuki.system.threads import problems
from tasuki.testing.clock import FakeClock
from tests.support.settings import parsed
from tests.unit.consumers.model import ModelBroker, ModelDriver
from tests.unit.consumers.parts import make_bench, make_queue

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = False


class ExtendingDriver(ModelDriver):
    """Knows nothing but how to extend; ``told`` is set at each call."""

    def __init__(self) -> None:
        super().__init__(ModelBroker(SystemClock()))
        self.extended: list[list[Receipt]] = []
        self.threads: set[int] = set()
        self.stale: list[Receipt] = []
        self.error: Exception | None = None
        self.hangs = False
        self.told = threading.Event()

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        self.extended.append(list(batch))
        self.threads.add(threading.get_ident())
        self.told.set()
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.error is not None:
            raise self.error
        return self.stale


def holding(driver: Any, clock: Any, count: int = 1, lease: float = 30.0, left: float = 0.0) -> Holding:
    queue = make_queue(driver, clock=clock, lease=lease)
    found = Holding(queue, ConsumerMetrics(consumer="c", queue="q", driver="d"), lease_of(queue))
    for receipt in range(count):
        delivery = Delivery(Received("1", b"x", {}, receipt), None, clock.monotonic() + left)  # type: ignore[arg-type]
        found.deliveries[receipt] = delivery
    return found


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def keepers() -> int:
    return sum(thread.name == "tasuki keeper" for thread in threading.enumerate())


async def test_renews_only_what_has_used_a_third_of_its_lease() -> None:
    driver, clock = ExtendingDriver(), FakeClock()
    held = holding(driver, clock, 2, left=30.0)
    held.deliveries[1].lease_until = 19.0
    await Keeper(clock).renew(held)
    assert driver.extended == [[1]]
    assert held.deliveries[1].lease_until == 30.0
    assert held.deliveries[0].lease_until == 30.0


@pytest.mark.parametrize("lease", [30.0, 600.0])
async def test_where_a_death_is_seen_by_silence_a_lease_is_renewed_three_times_in_it(lease: float) -> None:
    """And no more often: a minute costs a broker at most 18 requests for each consumer, however much it holds."""
    driver, clock = ExtendingDriver(), FakeClock()
    driver.capabilities = replace(driver.capabilities.also("sees_silence"), max_batch=1000)  # type: ignore[misc]
    held, keeper, gaps = holding(driver, clock, 500, lease=lease, left=lease), Keeper(clock), [0.0]
    for _ in range(int(60 / held.period)):
        clock.advance(held.period)
        gaps[-1] += held.period
        before = len(driver.extended)
        await keeper.renew(held)
        gaps += [0.0] * (len(driver.extended) - before)
    assert max(gaps) <= SILENCE / 2 + 0.01
    assert 6 <= len(driver.extended) <= 18


async def test_a_short_lease_is_renewed_by_itself_where_a_death_is_seen_by_silence() -> None:
    driver, clock = ExtendingDriver(), FakeClock()
    driver.capabilities = driver.capabilities.also("sees_silence")  # type: ignore[misc]
    assert holding(driver, clock, lease=3.0).period == 0.5


async def test_a_renewed_lease_counts_from_the_request_and_not_from_its_answer() -> None:
    """The broker renews it at some moment between the two."""
    driver, clock = ExtendingDriver(), FakeClock()
    held, extend = holding(driver, clock), driver.extend

    async def slow(queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        clock.advance(12)
        return await extend(queue, batch, lease)

    driver.extend = slow  # type: ignore[method-assign]
    await Keeper(clock).renew(held)
    assert held.deliveries[0].lease_until == clock.monotonic() - 12 + 30


async def test_renews_in_driver_sizes() -> None:
    driver, clock = ExtendingDriver(), FakeClock()
    await Keeper(clock).renew(holding(driver, clock, 16))
    assert [len(batch) for batch in driver.extended] == [7, 7, 2]


async def test_a_stale_one_is_lost_once(caplog: pytest.LogCaptureFixture) -> None:
    driver, clock = ExtendingDriver(), FakeClock()
    held = holding(driver, clock, 2)
    driver.stale = [1]
    keeper = Keeper(clock)
    await keeper.renew(held)
    clock.advance(20)
    await keeper.renew(held)
    assert [delivery.lost for delivery in held.deliveries.values()] == [False, True]
    assert held.metrics.lease_lost == 1
    assert driver.extended == [[0, 1], [0]]
    (lost,) = [record for record in caplog.records if record.getMessage().startswith("lease lost")]
    assert vars(lost)["message_id"] == list(held.deliveries.values())[1].received.id


async def test_what_was_settled_meanwhile_is_not_counted_as_lost() -> None:
    driver, clock = ExtendingDriver(), FakeClock()
    driver.stale = [0, 1]
    held = holding(driver, clock, 2)
    settled, gone = held.deliveries[0], held.deliveries[1]
    settled.settled = True
    extend = driver.extend

    async def slow(queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        del held.deliveries[1]
        return await extend(queue, batch, lease)

    driver.extend = slow  # type: ignore[method-assign]
    await Keeper(clock).renew(held)
    assert settled.lost, "its dead letter, if it waits for one, is another consumer's now"
    assert not gone.lost
    assert held.metrics.lease_lost == 0


class SessionDriver(ExtendingDriver):
    """Of a broker without leases, which is patient for thirty seconds."""

    capabilities = ModelDriver.capabilities.without("leases")
    patience = 30.0


async def test_what_hangs_on_a_session_is_asked_for_every_time() -> None:
    driver, clock = SessionDriver(), FakeClock()
    held = holding(driver, clock, 2, left=30.0)
    assert held.period == 1.0
    await Keeper(clock).renew(held)
    assert driver.extended == [[0, 1]]
    driver.stale = [1]
    await Keeper(clock).renew(held)
    assert [delivery.lost for delivery in held.deliveries.values()] == [False, True]


async def test_a_session_that_was_silent_for_longer_than_its_brokers_patience_is_not_believed() -> None:
    """After a pause of the process it looks alive, until the loop has read that it was closed."""
    driver, clock = SessionDriver(), FakeClock()
    held = holding(driver, clock, 2, left=30.0)
    clock.advance(31)
    await Keeper(clock).renew(held)
    assert driver.extended == []
    assert all(delivery.lost for delivery in held.deliveries.values())
    assert held.metrics.lease_lost == 2


@pytest.mark.parametrize("error", [BrokerUnavailableError("away"), RuntimeError("defect")])
async def test_a_failure_is_reported_and_the_next_round_comes(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    driver, clock = ExtendingDriver(), FakeClock()
    driver.error = error
    held = holding(driver, clock)
    keeper = Keeper(clock)
    await keeper.renew(held)
    assert held.deliveries[0].lease_until == 0.0
    assert "cannot renew leases" in caplog.text
    driver.error = None
    await keeper.renew(held)
    assert held.deliveries[0].lease_until == 30.0


async def test_a_driver_without_leases_needs_no_thread() -> None:
    clock = FakeClock()
    keeper, held = Keeper(clock), holding(MemoryDriver("app:memory", clock=clock), clock)
    keeper.add(held)
    assert keepers() == 0
    keeper.remove(held)


async def test_one_thread_for_all_that_ends_with_the_last_and_comes_again() -> None:
    clock = SystemClock()
    keeper = Keeper(clock)
    for _ in range(3):
        first, second = ExtendingDriver(), ExtendingDriver()
        held = [holding(first, clock), holding(second, clock)]
        for one in held:
            keeper.add(one)
        assert first.told.wait(10)
        assert second.told.wait(10)
        assert keepers() == 1
        assert first.threads == second.threads
        assert threading.get_ident() not in first.threads
        keeper.remove(held[0])
        assert keepers() == 1
        keeper.remove(held[1])
        keeper.remove(held[1])
        wait_for(lambda: keepers() == 0)


class Claim:
    """Never due."""

    period = 60.0
    due_at = float("inf")

    async def renew(self) -> None:
        raise AssertionError


@pytest.mark.parametrize("has_leases", [True, False])
async def test_its_thread_ends_with_the_claim_of_a_handler_that_outlasts_its_consumer(has_leases: bool) -> None:
    clock = SystemClock()
    driver = ExtendingDriver() if has_leases else MemoryDriver("app:memory", clock=clock)
    keeper, held, claims = Keeper(clock), holding(driver, clock), [Claim(), Claim()]
    keeper.add(held)
    for claim in claims:
        keeper.add_claim(claim)
    keeper.remove_claim(claims[0])
    keeper.remove(held)
    assert keepers() == 1
    keeper.remove_claim(claims[1])
    wait_for(lambda: keepers() == 0)


async def test_its_thread_stays_for_the_next_claim_while_there_is_a_consumer() -> None:
    clock = SystemClock()
    keeper, held, claim = Keeper(clock), holding(MemoryDriver("app:memory", clock=clock), clock), Claim()
    keeper.add(held)
    keeper.add_claim(claim)
    thread = keeper._thread
    keeper.remove_claim(claim)
    keeper.add_claim(claim)
    assert keeper._thread is thread
    keeper.remove_claim(claim)
    keeper.remove(held)
    wait_for(lambda: keepers() == 0)


async def test_a_shorter_lease_that_comes_later_is_renewed_in_time() -> None:
    clock = SystemClock()
    keeper, long, short = Keeper(clock), ExtendingDriver(), ExtendingDriver()
    first, second = holding(long, clock, lease=600.0), holding(short, clock, lease=0.3)
    keeper.add(first)
    assert long.told.wait(10)
    keeper.add(second)
    wait_for(lambda: len(short.extended) >= 3)
    keeper.remove(first)
    keeper.remove(second)
    wait_for(lambda: keepers() == 0)


async def test_many_consumers_that_begin_wake_it_once_and_cost_nothing_while_they_hold_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds: list[Keeper] = []
    round_, renew, renewed = Keeper._round, Keeper.renew, list[Holding]()

    def note_round(self: Keeper, *args: Any) -> Any:
        rounds.append(self)
        return round_(self, *args)

    async def note_renewal(self: Keeper, found: Holding) -> None:
        renewed.append(found)
        await renew(self, found)

    monkeypatch.setattr(Keeper, "_round", note_round)
    monkeypatch.setattr(Keeper, "renew", note_renewal)
    clock, driver = SystemClock(), ExtendingDriver()
    keeper, busy = Keeper(clock), holding(driver, clock, lease=600.0)
    idle = [holding(driver, clock, 0, lease=600.0) for _ in range(100)]
    keeper.add(busy)
    wait_for(lambda: renewed == [busy])
    for one in idle:
        keeper.add(one)
        await asyncio.to_thread(lambda: None)  # the thread may have its turn
    keeper.check()
    wait_for(lambda: renewed == [busy, busy])
    assert len(rounds) == 2
    for one in (busy, *idle):
        keeper.remove(one)
    wait_for(lambda: keepers() == 0)


async def test_a_broker_that_hangs_costs_no_other_its_leases() -> None:
    clock = SystemClock()
    keeper, stuck, fine = Keeper(clock), ExtendingDriver(), ExtendingDriver()
    stuck.hangs = True
    held = [holding(stuck, clock, lease=0.3), holding(fine, clock, lease=0.3)]
    for one in held:
        keeper.add(one)
    wait_for(lambda: len(fine.extended) >= 3)
    assert len(stuck.extended) == 1
    for one in held:
        keeper.remove(one)
    wait_for(lambda: keepers() == 0)


def model_driver(folder: Path) -> Driver:
    return ModelDriver(ModelBroker(SystemClock()))


def sqlite_driver(folder: Path) -> Driver:
    return SQLiteDriver("app:sqlite", parsed(SQLiteSettings, path=folder / "queue.db"), SystemClock())


@pytest.mark.parametrize("make_driver", [model_driver, sqlite_driver])
async def test_a_handler_that_blocks_the_loop_keeps_its_messages_and_those_that_wait(
    make_driver: Callable[[Path], Driver], tmp_path: Path
) -> None:
    async def block(body: Any, context: Any) -> None:
        if body == 0:
            time.sleep(1.5)

    clock, options = SystemClock(), ConsumerOptions(concurrency=1, prefetch=3)
    asyncio.get_running_loop().clock = clock  # type: ignore[attr-defined]
    driver = make_driver(tmp_path)
    bench = await make_bench(block, driver=driver, lease=0.5, keeper=Keeper(clock), options=options)
    await bench.queue.publish_many([0, 1, 2])
    async with bench:
        async with asyncio.timeout(60):
            while bench.consumer.metrics.acked < 3:
                await asyncio.sleep(0.01)
    assert bench.handler.seen == [(0, 1), (1, 1), (2, 1)]
    metrics = bench.consumer.metrics
    assert (metrics.stale, metrics.lease_lost) == (0, 0)
    assert (await bench.queue.info())["message_count"] == 0
    await driver.close()
    await asyncio.to_thread(wait_for, lambda: keepers() == 0)


async def test_a_keeper_that_cannot_start_at_first_keeps_leases_soon_after(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Files may be short for a moment, and its loop needs some."""
    clock, driver, new, left = SystemClock(), ExtendingDriver(), new_event_loop, [1, 1]

    def short() -> asyncio.AbstractEventLoop:
        if threading.current_thread().name == "tasuki keeper" and left:
            left.pop()
            raise OSError(24, "Too many open files")
        return new()

    monkeypatch.setattr(loop_thread, "new_event_loop", short)
    keeper, held = Keeper(clock), holding(driver, clock)
    keeper.add(held)
    keeper.check()
    assert driver.told.wait(30)
    assert not left
    assert "thread 'tasuki keeper' failed, starts again" in caplog.text
    assert problems() == {}
    keeper.remove(held)
    wait_for(lambda: keepers() == 0)


async def test_a_thread_that_gives_no_sign_of_life_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, seconds = Keeper(SystemClock()), [100.0]
    monkeypatch.setattr("tasuki.consumers.fetching.keeper.time.monotonic", lambda: seconds[0])
    assert keeper.silent_for() == 0.0
    told: list[Any] = []
    keeper._thread = SimpleNamespace(tell=told.append)  # type: ignore[assignment]
    assert keeper.silent_for() == 0.0
    seconds[0] += 3
    assert keeper.silent_for() == 3.0
    told[-1]()  # its loop goes on
    assert keeper.silent_for() == 0.0
    seconds[0] += 3
    keeper._thread = None
    assert keeper.silent_for() == 0.0


async def test_the_renewal_of_a_lease_is_late_from_half_of_it_on() -> None:
    clock = FakeClock()
    held = holding(ModelDriver(ModelBroker(clock)), clock, count=2, left=30.0)
    assert held.late(clock.monotonic()) == 0.0
    clock.advance(17)
    assert held.late(clock.monotonic()) == 2.0
    for delivery in held.deliveries.values():
        delivery.lost = True
    assert held.late(clock.monotonic()) == 0.0
    held.lease = None
    assert held.late(clock.monotonic()) == 0.0
