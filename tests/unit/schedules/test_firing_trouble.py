"""Firing while queues refuse, publishes take long, clocks jump, and records cannot be read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tasuki.errors import BrokerUnavailableError, QueueFullError
from tasuki.schedules import firing
from tasuki.schedules.firing import LEASE, MARKS, KnownSchedules
from tasuki.schedules.schedule import Tick
from tasuki.schedules.schedule_group import Left
from tests.unit.schedules.test_firing import Shop, Worker, open_shop, schedule

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


@pytest.fixture
async def shop() -> Shop:
    return await open_shop()


async def test_a_queue_that_refuses_holds_up_no_other_and_nothing_comes_twice(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    start, is_full = shop.now, [True]
    schedules = [replace(schedule("full"), lane="full"), replace(schedule("free"), lane="free")]
    worker = Worker(shop, "x", schedules)
    publish = worker.publish

    async def refusing(ticks: Sequence[Tick]) -> None:
        if is_full and ticks[0].schedule.id == "full":
            await asyncio.sleep(10)  # as where a publish waits for room
            raise QueueFullError("no room")
        await publish(ticks)

    worker.firing._publish = refusing
    await asyncio.sleep(60.5)
    assert set(shop.published) == shop.ids("free", start, shop.now)
    is_full.clear()
    await asyncio.sleep(12)
    assert set(shop.published) == shop.ids("free", start, shop.now) | shop.ids("full", start, shop.now)
    assert set(shop.published.values()) == {1}
    assert [record.getMessage() for record in caplog.records if "wait for" in record.getMessage()] == [
        "schedules of full wait for the broker: no room"
    ]
    await worker.kill()


async def test_a_broker_that_does_not_answer_holds_up_no_schedule_of_another(shop: Shop) -> None:
    """However many queues are on it: a publish to each of them waits for its timeout."""
    start = shop.now
    silent = [replace(schedule(f"s{number}"), lane=f"s{number}", broker="silent") for number in range(200)]
    worker = Worker(shop, "x", [*silent, replace(schedule("free"), lane="free", broker="other")])
    publish = worker.publish

    async def waiting(ticks: Sequence[Tick]) -> None:
        if ticks[0].schedule.broker == "silent":
            await asyncio.sleep(10)
            raise BrokerUnavailableError("no answer")
        await publish(ticks)

    worker.firing._publish = waiting
    await asyncio.sleep(20.5)
    assert set(shop.published) == shop.ids("free", start, shop.now)
    assert all(at < int(id.rpartition(":")[2]) + 1 for id, at in shop.at.items())
    await worker.kill()


async def test_a_worker_that_takes_over_knows_which_queue_was_behind(shop: Shop) -> None:
    start = shop.now
    schedules = [replace(schedule("full"), lane="full"), replace(schedule("free"), lane="free")]
    worker = Worker(shop, "x", schedules)
    publish = worker.publish

    async def refusing(ticks: Sequence[Tick]) -> None:
        if ticks[0].schedule.id == "full":
            raise QueueFullError("no room")
        await publish(ticks)

    worker.firing._publish = refusing
    await asyncio.sleep(60.5)
    await worker.kill()
    worker = Worker(shop, "y", schedules)
    await asyncio.sleep(2 * LEASE)
    assert set(shop.published) == shop.ids("free", start, shop.now) | shop.ids("full", start, shop.now)
    assert set(shop.published.values()) == {1}
    await worker.kill()


async def test_what_a_queue_took_in_part_is_not_published_again(shop: Shop) -> None:
    """A full queue takes some messages of a portion; without unique messages, each repetition would be another one."""
    start = shop.now
    worker = Worker(shop, "x", [schedule(f"s{number}") for number in range(1200)])
    room = [700]

    async def part(ticks: Sequence[Tick]) -> Left | None:
        taken, room[0] = ticks[: room[0]], max(room[0] - len(ticks), 0)
        for tick in taken:
            shop.published[tick.message_id] += 1
        left = ticks[len(taken) :]
        return Left(left, QueueFullError("no room")) if left else None

    worker.firing._publish = part
    await asyncio.sleep(5.5)
    assert shop.published.total() == 700
    room[0] = 10_000_000
    await asyncio.sleep(2.5)
    assert set(shop.published) >= {id for n in range(1200) for id in shop.ids(f"s{n}", start, shop.now - 1)}
    assert set(shop.published.values()) == {1}
    await worker.kill()


async def test_a_publish_longer_than_the_lease_keeps_the_place(shop: Shop) -> None:
    start = shop.now
    workers = [Worker(shop, name, [schedule("a", "10s")]) for name in "xy"]

    for worker in workers:

        async def slow(ticks: Sequence[Tick], publish: Any = worker.publish) -> None:
            await asyncio.sleep(3 * LEASE)
            await publish(ticks)

        worker.firing._publish = slow
    await asyncio.sleep(100)
    assert set(shop.published) >= shop.ids("a", start, start + 70, 10)
    assert set(shop.published.values()) == {1}
    for worker in workers:
        await worker.kill()


async def test_a_record_that_cannot_be_read_is_passed_over(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    await shop.store.put(MARKS + "other", b"\xff garbage")
    worker = Worker(shop, "x", [schedule()])
    await asyncio.sleep(3.5)
    own = worker.firing._scope
    await worker.kill()
    await shop.store.put(MARKS + own, b"{}")
    shop.published.clear()
    worker = Worker(shop, "y", [schedule()])
    await asyncio.sleep(2 * LEASE)
    assert shop.published
    assert "the record 'schedules/mark/other' in the store cannot be read" in caplog.text
    await worker.kill()


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_clock_of_the_store_that_was_years_ahead_stops_nothing(
    shop: Shop, is_killed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ahead = [0.0]
    hold = shop.store.hold

    async def wrong(*args: Any, **options: Any) -> float | None:
        end = await hold(*args, **options)
        return None if end is None else end + ahead[0]

    shop.store.hold = wrong  # type: ignore[method-assign]
    caplog.set_level(logging.WARNING)
    worker = Worker(shop, "x", [schedule("a", "1s", "skip")])
    await asyncio.sleep(3)
    ahead[0] = 10 * 365 * 86400.0
    await asyncio.sleep(3)
    if is_killed:
        await worker.kill()
        worker = Worker(shop, "y", [schedule("a", "1s", "skip"), schedule("b", "1s", "skip")])
        await asyncio.sleep(2 * LEASE)
    ahead[0] = 0.0
    await asyncio.sleep(2 * LEASE)
    shop.published.clear()
    back = shop.now
    await asyncio.sleep(5)
    assert set(shop.published) >= shop.ids("a", back, shop.now - 1)
    if is_killed:
        assert set(shop.published) >= shop.ids("b", back, shop.now - 1)
    assert "the clock of the store" in caplog.text
    await worker.kill()


async def test_a_store_that_is_away_for_a_moment_repeats_nothing(shop: Shop) -> None:
    start, is_away = shop.now, [False]
    put = shop.store.put

    async def failing(*args: Any, **options: Any) -> int:
        if is_away[0]:
            raise BrokerUnavailableError("away")
        return await put(*args, **options)

    shop.store.put = failing  # type: ignore[method-assign]
    worker = Worker(shop, "x", [schedule()])
    await asyncio.sleep(3.5)
    is_away[0] = True
    await asyncio.sleep(3)
    is_away[0] = False
    await asyncio.sleep(3)
    await worker.kill()
    worker = Worker(shop, "y", [schedule()])
    await asyncio.sleep(2 * LEASE)
    assert set(shop.published) == shop.ids("a", start, shop.now)
    assert set(shop.published.values()) == {1}
    await worker.kill()


async def test_ten_thousand_new_schedules_leave_the_loop_to_others(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A count, not a clock: each schedule is looked up once, in steps."""
    made, steps = [], []
    packed = KnownSchedules.shard

    def shard(known: KnownSchedules, number: int) -> bytes:
        made.append(len(packed(known, number)))
        return packed(known, number)

    def see(known: KnownSchedules, part: Any, now: int) -> Any:
        steps.append(len(part))
        return seen(known, part, now)

    seen = KnownSchedules.see
    monkeypatch.setattr(KnownSchedules, "shard", shard)
    monkeypatch.setattr(KnownSchedules, "see", see)
    worker = Worker(shop, "x", [schedule(f"s{number}", "1h") for number in range(10_000)])
    await asyncio.sleep(2)
    assert worker.firing.is_firing
    assert sum(steps) == 10_000
    assert max(steps) <= 1000
    assert sum(made) == 16 * 10_000
    await worker.kill()


async def test_the_records_of_renamed_schedules_end_and_a_living_holder_keeps_its_own(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = shop.now
    monkeypatch.setattr(firing, "KEPT", 100.0)
    monkeypatch.setattr(firing, "_RENEW_ALL", 30.0)
    before = Worker(shop, "x", [schedule("before", "1h")])
    await asyncio.sleep(2)
    await before.kill()
    assert len((await shop.store.list("schedules/")).entries) == 2  # its mark, and when it was first seen
    now = Worker(shop, "y", [schedule("after", "400s")])
    await asyncio.sleep(3)
    assert len((await shop.store.list("schedules/")).entries) == 4
    await asyncio.sleep(900)
    assert len((await shop.store.list("schedules/")).entries) == 2
    assert set(shop.published) == shop.ids("after", start, shop.now, 400)
    assert set(shop.published.values()) == {1}
    await now.kill()


class Apart:
    """A store as one worker sees it: some of its verbs take long, or do not arrive."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.is_cut = False
        self.slow = 0.0
        """Seconds that a put takes to arrive."""
        self.puts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def hold(self, *args: Any, **options: Any) -> float | None:
        if self.is_cut:
            raise BrokerUnavailableError("no answer")
        end: float | None = await self._store.hold(*args, **options)
        return end

    async def put(self, *args: Any, **options: Any) -> int:
        self.puts += 1
        await asyncio.sleep(self.slow)
        version: int = await self._store.put(*args, **options)
        return version


async def test_a_worker_that_is_cut_off_publishes_nothing_after_its_lease(shop: Shop) -> None:
    """Also not the rest of the many ticks that it has begun with."""
    worker = Worker(shop, "x", [schedule(f"s{number}", "10s") for number in range(6000)])
    worker.firing._store = apart = Apart(shop.store)  # type: ignore[assignment]
    began: list[float] = []
    publish = worker.publish

    async def slowly(ticks: Sequence[Tick]) -> None:
        apart.is_cut = True
        began.append(shop.now)
        await publish(ticks)
        await asyncio.sleep(1)

    worker.firing._publish = slowly
    await asyncio.sleep(60)
    assert began
    assert began[-1] - began[0] < LEASE
    assert not worker.firing.is_firing
    await worker.kill()


async def test_a_worker_that_was_stopped_writes_no_mark_over_the_one_of_its_successor(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = shop.store.put
    marks: list[int] = []

    async def noting(key: str, value: bytes, **options: Any) -> int:
        version = await put(key, value, **options)
        if key.startswith(MARKS):
            marks.append(msgspec.json.decode(value, type=firing.Mark).mark)
        return version

    monkeypatch.setattr(shop.store, "put", noting)
    worker = Worker(shop, "x", [schedule()])
    worker.firing._store = apart = Apart(shop.store)  # type: ignore[assignment]
    await asyncio.sleep(2.5)
    apart.slow = 30.0
    await asyncio.sleep(1)
    successor = Worker(shop, "y", [schedule()])
    await asyncio.sleep(60)
    assert marks == sorted(marks)
    assert marks[-1] - marks[0] > 50
    await worker.kill()
    await successor.kill()


async def test_a_worker_that_loses_its_place_as_it_begins_writes_no_more(shop: Shop) -> None:
    schedules = [schedule(f"s{number}") for number in range(500)]
    worker = Worker(shop, "x", schedules)
    worker.firing._store = apart = Apart(shop.store)  # type: ignore[assignment]
    apart.slow = 2 * LEASE  # of each of the many records of its schedules
    await asyncio.sleep(1)
    successor = Worker(shop, "y", schedules)
    await asyncio.sleep(10 * LEASE)
    assert successor.firing.is_firing
    assert apart.puts == 1
    await worker.kill()
    await successor.kill()
