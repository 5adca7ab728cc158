"""Firing: each tick is published once, whatever happens to the workers that fire."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from tasuki.contracts.state.store import Store
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError
from tasuki.schedules.firing import LEASE, MARKS, Firing, identity
from tasuki.schedules.schedule import CatchUp, Schedule, Tick
from tasuki.schedules.timing import every_timing
from tasuki.testing.clock import VirtualTimeLoop

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


class Worker:
    """Fires schedules of one app; ``ahead``: how wrong the clock of its machine is."""

    def __init__(self, shop: Shop, name: str, schedules: Sequence[Schedule], ahead: float = 0.0) -> None:
        self.shop = shop
        clock = Skewed(shop.loop.clock, ahead)
        self.firing = Firing(shop.store, self.publish, shop.paused.__contains__, clock=clock, holder=name)
        self.firing.use({identity(schedule.id, "q"): schedule for schedule in schedules})
        self.task = asyncio.ensure_future(self.firing.run())

    async def publish(self, ticks: Sequence[Tick]) -> None:
        """Part of a batch may be stored before it fails, or before its worker dies."""
        for tick in ticks:
            await asyncio.sleep(0)
            if self.shop.fails():
                raise BrokerUnavailableError("away")
            self.shop.published[tick.message_id] += 1
            self.shop.at[tick.message_id] = self.shop.now

    async def kill(self) -> None:
        """End it without a goodbye: its place stays taken until its lease ends."""
        self.firing._end_turn()
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


class Skewed:
    def __init__(self, clock: Any, ahead: float) -> None:
        self._clock, self._ahead = clock, ahead

    def monotonic(self) -> float:
        return float(self._clock.monotonic()) + 1000 * self._ahead

    boottime = monotonic

    def time(self) -> float:
        return float(self._clock.time()) + self._ahead


class Shop:
    """A store, and the published messages."""

    def __init__(self, loop: VirtualTimeLoop, store: Store) -> None:
        self.loop, self.store = loop, store
        self.published: Counter[str] = Counter()
        self.at: dict[str, float] = {}
        self.paused: set[str] = set()
        self.fails: Callable[[], bool] = lambda: False

    @property
    def now(self) -> float:
        return self.loop.clock.time()

    def ids(self, id: str, start: float, end: float, every: int = 1) -> set[str]:
        """The messages of the ticks after ``start`` and until ``end``."""
        first = int(start) // every * every + every
        return {f"schedule:{id}:{tick}" for tick in range(first, int(end) + 1, every)}


async def open_shop() -> Shop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    driver = MemoryDriver("m", clock=loop.clock)
    await driver.open()
    store = driver.store("state")
    await store.open()
    return Shop(loop, store)


@pytest.fixture
async def shop() -> Shop:
    return await open_shop()


def schedule(id: str = "a", every: str = "1s", catch_up: CatchUp = "all") -> Schedule:
    return Schedule(id, every_timing(every), catch_up)


async def test_each_tick_is_published_once_and_not_early(shop: Shop) -> None:
    start = shop.now
    workers = [Worker(shop, name, [schedule(), schedule("b", "10s")]) for name in "xyz"]
    await asyncio.sleep(60.5)
    assert set(shop.published) == shop.ids("a", start, start + 60) | shop.ids("b", start, start + 60, 10)
    assert set(shop.published.values()) == {1}
    assert sum(worker.firing.is_firing for worker in workers) == 1
    for id, at in shop.at.items():
        assert int(id.rpartition(":")[2]) <= at < int(id.rpartition(":")[2]) + 1
    for worker in workers:
        await worker.kill()


async def test_another_worker_goes_on_after_a_kill(shop: Shop) -> None:
    """A tick that was published before its mark was put has the same id when it comes again."""
    start = shop.now
    schedules = [schedule()]
    workers = [Worker(shop, f"{number}", schedules, ahead) for number, ahead in enumerate((0, 600, -600))]
    for number in range(3, 40):
        await asyncio.sleep(0.73)
        firing = next((worker for worker in workers if worker.firing.is_firing), workers[0])
        await firing.kill()
        workers[workers.index(firing)] = Worker(shop, f"{number}", schedules, (number % 3 - 1) * 600.0)
    await asyncio.sleep(2 * LEASE)
    end = shop.now
    assert shop.ids("a", start, end - 1) <= set(shop.published) <= shop.ids("a", start, end)
    for worker in workers:
        await worker.kill()


async def test_a_stop_leaves_the_place_at_once(shop: Shop) -> None:
    first = Worker(shop, "first", [schedule()])
    await asyncio.sleep(0.1)
    assert first.firing.is_firing
    second = Worker(shop, "second", [schedule()])
    await asyncio.sleep(0.1)
    first.task.cancel()
    await asyncio.wait([first.task])
    await asyncio.sleep(1.5)
    assert second.firing.is_firing
    await second.kill()


async def test_what_the_broker_refuses_comes_when_it_is_back(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    start = shop.now
    worker = Worker(shop, "x", [schedule(), schedule("b", "2s")])
    await asyncio.sleep(3.5)
    attempts = iter(range(1000))
    shop.fails = lambda: next(attempts) % 5 != 0
    await asyncio.sleep(20)
    shop.fails = lambda: False
    await asyncio.sleep(3)
    end = shop.now
    assert set(shop.published) >= shop.ids("a", start, end - 1) | shop.ids("b", start, end - 1, 2)
    assert "wait for the broker: away" in caplog.text
    await worker.kill()


async def test_ticks_of_a_time_without_workers(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    schedules = [schedule("skip", "10s", "skip"), schedule("one", "10s", "one"), schedule("all", "10s", "all")]
    worker = Worker(shop, "x", schedules)
    await asyncio.sleep(30.5)
    await worker.kill()
    stopped = shop.now
    await asyncio.sleep(600)
    shop.published.clear()
    back = shop.now
    worker = Worker(shop, "y", schedules)
    await asyncio.sleep(0.5)
    assert {id for id in shop.published if ":skip:" in id} == shop.ids("skip", back - 61, back, 10)
    assert {id for id in shop.published if ":one:" in id} == shop.ids("one", back - 10, back, 10)
    assert {id for id in shop.published if ":all:" in id} == shop.ids("all", stopped, back, 10)
    assert "schedule skip: 5" in caplog.text
    assert "schedule one: 59" in caplog.text or "schedule one: 60" in caplog.text
    await worker.kill()


async def test_a_new_schedule_begins_when_it_is_first_seen_also_after_a_kill(shop: Shop) -> None:
    worker = Worker(shop, "x", [schedule("old", "10s")])
    await asyncio.sleep(20)
    await worker.kill()
    await asyncio.sleep(600)
    seen = shop.now
    worker = Worker(shop, "y", [schedule("old", "10s"), schedule("new", "10s")])
    await asyncio.sleep(0)
    await worker.kill()
    worker = Worker(shop, "z", [schedule("old", "10s"), schedule("new", "10s")])
    await asyncio.sleep(605)
    assert {id for id in shop.published if ":new:" in id} == shop.ids("new", seen, shop.now, 10)
    await worker.kill()


async def test_a_changed_timing_begins_when_it_is_first_seen(shop: Shop) -> None:
    worker = Worker(shop, "x", [schedule("a", "1h")])
    await asyncio.sleep(20.5)
    changed = shop.now
    worker.firing.use({identity("a", "q"): schedule("a", "10s")})
    await asyncio.sleep(61)
    assert {id for id in shop.published if int(id.rpartition(":")[2]) % 3600} == shop.ids("a", changed, shop.now, 10)
    await worker.kill()


async def test_applications_with_one_namespace_do_not_move_each_others_mark(shop: Shop) -> None:
    start = shop.now
    one, other = Worker(shop, "x", [schedule("one", "1s")]), Worker(shop, "y", [schedule("other", "1s")])
    await asyncio.sleep(10.5)
    assert one.firing.is_firing
    assert other.firing.is_firing
    assert set(shop.published) == shop.ids("one", start, shop.now) | shop.ids("other", start, shop.now)
    assert len((await shop.store.list(MARKS)).entries) == 2
    await one.kill()
    await other.kill()


async def test_a_new_version_finds_the_mark_of_the_old_one(shop: Shop) -> None:
    many = [schedule(f"s{number}", "1m") for number in range(200)]
    old = Worker(shop, "old", many)
    await asyncio.sleep(1)
    await old.kill()
    killed = shop.now
    await asyncio.sleep(300)
    new = Worker(shop, "new", [*many[50:], *(schedule(f"n{number}", "1m") for number in range(50))])
    await asyncio.sleep(0.5)
    assert {id for id in shop.published if ":s60:" in id} == shop.ids("s60", killed, shop.now, 60)
    assert not [id for id in shop.published if ":n1:" in id or ":s1:" in id]
    assert len((await shop.store.list(MARKS)).entries) == 1
    await new.kill()


async def test_ticks_of_a_paused_schedule_are_passed_over(shop: Shop) -> None:
    worker = Worker(shop, "x", [schedule("a"), schedule("b")])
    shop.paused.add("a")
    await asyncio.sleep(10.5)
    assert {id.split(":")[1] for id in shop.published} == {"b"}
    shop.paused.clear()
    resumed = shop.now
    await asyncio.sleep(10.2)
    assert {id for id in shop.published if ":a:" in id} == shop.ids("a", resumed, shop.now)
    await worker.kill()


async def test_a_worker_whose_lease_ended_while_it_slept_publishes_no_later_ticks(shop: Shop) -> None:
    """As after SIGSTOP: it goes on with its portion, and learns that another worker has moved the mark."""
    start = shop.now
    first = Worker(shop, "first", [schedule()])
    await asyncio.sleep(2.5)
    release, publish, hold = asyncio.Event(), first.publish, first.firing._hold

    async def slow(ticks: Sequence[Tick]) -> None:
        await release.wait()
        await publish(ticks)

    async def sleeping() -> bool:
        await release.wait()
        return await hold()

    first.firing._publish = slow
    await asyncio.sleep(0.7)
    first.firing._hold = sleeping  # type: ignore[method-assign]
    second = Worker(shop, "second", [schedule()])
    await asyncio.sleep(20)
    assert second.firing.is_firing
    mark = (await shop.store.list(MARKS)).entries[0].version
    release.set()
    await asyncio.sleep(0.01)
    assert not first.firing.is_firing
    assert (await shop.store.list(MARKS)).entries[0].version == mark
    repeated = [id for id, count in shop.published.items() if count > 1]
    assert len(repeated) <= 1, "no more than the portion that it had begun"
    assert set(shop.published) == shop.ids("a", start, shop.now)
    await first.kill()
    await second.kill()


async def test_without_schedules_it_asks_nothing_and_a_change_wakes_it(shop: Shop) -> None:
    worker = Worker(shop, "x", [])
    start = shop.loop.time()
    await asyncio.sleep(1000)
    assert not (await shop.store.list()).entries
    worker.firing.use({identity("a", "q"): schedule()})
    await asyncio.sleep(2.5)
    assert shop.published
    assert start + 1000 < shop.loop.time()
    await worker.kill()
