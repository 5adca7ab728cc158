"""Attendance: a worker's entry in the stores of its consumers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from tasuki.clock import SystemClock
from tasuki.contracts.state.store import CURRENT, Change
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.memory.store import MemoryStore
from tasuki.errors import BrokerUnavailableError
from tasuki.state.shared import TIME_KEPT, SharedState
from tasuki.state.worker_heartbeat import Attendance
from tasuki.state.worker_record import KEPT, PRESENCE, QUIET, Presence, PresentConsumer, decode
from tasuki.testing.conformance import ShiftedClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


def describe(consumers: Sequence[str], now: float) -> Presence:
    return Presence("here", 1, "0.1.0", 5.0, now, [PresentConsumer(id, "q", "app:db", 1) for id in consumers])


async def changes_of(state: SharedState) -> AsyncIterator[Presence | None]:
    """The entries as they change."""
    async for change in (await state.store()).watch(PRESENCE):
        if change is not CURRENT:
            assert isinstance(change, Change)
            yield None if change.value is None else decode(change.value)


async def next_with(changes: AsyncIterator[Presence | None], consumers: list[str]) -> Presence:
    async for worker in changes:
        if worker is not None and [each.id for each in worker.consumers] == consumers:
            return worker
    raise AssertionError("the watch has ended")


async def test_an_entry_is_there_from_the_first_to_the_last_consumer(state: SharedState) -> None:
    attendance = Attendance(describe)
    changes = changes_of(state)
    await attendance.join(state, "a")
    await next_with(changes, ["a"])
    await attendance.join(state, "b")
    await next_with(changes, ["a", "b"])
    await attendance.leave(state, "a")
    await attendance.leave(state, "a")
    assert (await (await state.store()).list(PRESENCE)).entries
    await attendance.leave(state, "b")
    assert not (await (await state.store()).list(PRESENCE)).entries
    assert not [thread for thread in threading.enumerate() if thread.name == "tasuki presence"]


async def test_one_entry_stays_one_where_the_clocks_drift(state: SharedState) -> None:
    begun = 5.0

    def drifting(consumers: Sequence[str], now: float) -> Presence:
        nonlocal begun
        begun += 0.01
        return msgspec.structs.replace(describe(consumers, now), started=begun)

    attendance = Attendance(drifting)
    changes = changes_of(state)
    await attendance.join(state, "a")
    first = await next_with(changes, ["a"])
    await attendance.join(state, "b")
    second = await next_with(changes, ["a", "b"])
    assert first.key == second.key == attendance.key_in(state)
    assert len((await (await state.store()).list(PRESENCE)).entries) == 1
    await attendance.leave(state, "a")
    await attendance.leave(state, "b")
    assert attendance.key_in(state) == ""


async def test_who_joins_while_another_leaves_keeps_the_entry(
    state: SharedState, monkeypatch: pytest.MonkeyPatch
) -> None:
    attendance, left = Attendance(describe), threading.Event()
    changes = changes_of(state)
    await attendance.join(state, "a")
    worker = await next_with(changes, ["a"])
    thread = attendance._thread
    assert thread is not None
    monkeypatch.setattr(thread, "join", left.wait)
    leaving = asyncio.ensure_future(attendance.leave(state, "a"))
    await asyncio.sleep(0)
    await attendance.join(state, "b")
    await next_with(changes, ["b"])
    left.set()
    await leaving
    assert await (await state.store()).get(worker.key) is not None
    await attendance.leave(state, "b")
    assert await (await state.store()).get(worker.key) is None


async def test_it_gives_signs_while_the_loop_is_blocked(state: SharedState) -> None:
    signs = threading.Semaphore(0)

    def described(consumers: Sequence[str], now: float) -> Presence:
        signs.release()
        return describe(consumers, now)

    attendance = Attendance(described, period=0.01)
    await attendance.join(state, "a")
    try:
        for _ in range(3):
            assert signs.acquire(timeout=20)  # blocks this loop
    finally:
        await attendance.leave(state, "a")


async def test_an_entry_without_signs_is_kept_for_a_while(state: SharedState, clock: ShiftedClock) -> None:
    attendance = Attendance(describe, period=3600)
    changes = changes_of(state)
    await attendance.join(state, "a")
    await next_with(changes, ["a"])
    clock.advance(KEPT - 1)
    assert (await (await state.store()).list(PRESENCE)).entries
    clock.advance(1.1)
    assert not (await (await state.store()).list(PRESENCE)).entries
    await attendance.leave(state, "a")


class StillClock(SystemClock):
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now, self.apart = 1000.0, 1e9

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + self.apart


@pytest.fixture
def still() -> StillClock:
    return StillClock()


@pytest.fixture
async def slow(still: StillClock) -> AsyncIterator[SharedState]:
    """A state in a process whose clock stands."""
    driver = MemoryDriver("app:db")
    await driver.open()
    state = SharedState(driver, "state", still)
    await state.store()
    yield state
    await state.close(driver)
    await driver.close()


@pytest.fixture
async def puts(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[None]:
    """An item for each time that an entry was written."""
    put, written, loop = MemoryStore.put, asyncio.Queue[None](), asyncio.get_running_loop()

    async def noting(store: MemoryStore, *arguments: Any, **options: Any) -> int:
        version = await put(store, *arguments, **options)
        loop.call_soon_threadsafe(written.put_nowait, None)
        return version

    monkeypatch.setattr(MemoryStore, "put", noting)
    return written


async def test_an_idle_worker_writes_its_entry_as_seldom_as_its_end_allows(
    slow: SharedState, puts: asyncio.Queue[None], still: StillClock
) -> None:
    looks = threading.Semaphore(0)

    def described(consumers: Sequence[str], now: float) -> Presence:
        looks.release()
        return describe(consumers, now)

    attendance = Attendance(described, period=0.001)
    await attendance.join(slow, "a")
    await puts.get()
    for passed in (QUIET / 2, QUIET / 2 - 0.5):
        still.now += passed
        for _ in range(3):
            await asyncio.to_thread(looks.acquire)
    assert puts.empty()
    still.now += 0.6
    await puts.get()
    await attendance.leave(slow, "a")


async def test_a_change_and_a_running_handler_are_written_with_the_next_look(
    slow: SharedState, puts: asyncio.Queue[None]
) -> None:
    done = running = 0

    def described(consumers: Sequence[str], now: float) -> Presence:
        consumer = PresentConsumer("a", "q", "app:db", 1, running, done)
        return msgspec.structs.replace(describe(consumers, now), consumers=[consumer])

    attendance = Attendance(described, period=0.001)
    await attendance.join(slow, "a")
    await puts.get()
    done = 1
    await puts.get()
    running = 1
    for _ in range(3):
        await puts.get()
    await attendance.leave(slow, "a")


async def test_the_store_is_asked_for_its_time_only_where_the_clocks_may_have_parted(
    slow: SharedState, still: StillClock, puts: asyncio.Queue[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, store = 0, await slow.store()
    time = store.time

    async def counting() -> float:
        nonlocal asked
        asked += 1
        return await time()

    monkeypatch.setattr(store, "time", counting)
    attendance = Attendance(describe, period=0.001)
    await attendance.join(slow, "a")
    await puts.get()
    for _ in range(3):
        still.now += QUIET
        await puts.get()
    assert asked == 1
    still.now += TIME_KEPT
    await puts.get()
    assert asked == 2
    still.apart += 60.0
    still.now += QUIET
    await puts.get()
    assert asked == 3
    await attendance.leave(slow, "a")


async def test_a_silent_store_delays_no_sign_in_another(
    state: SharedState, puts: asyncio.Queue[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = MemoryDriver("app:other")
    await driver.open()
    silent, silences = SharedState(driver, "state", SystemClock()), asyncio.Event()
    store = await silent.store()
    monkeypatch.setattr(store, "time", silences.wait)
    attendance = Attendance(describe)
    await attendance.join(silent, "a")
    await attendance.join(state, "b")
    await puts.get()
    await attendance.leave(state, "b")
    await attendance.leave(silent, "a")
    await silent.close(driver)
    await driver.close()


async def test_a_store_that_is_away_delays_nothing_and_is_tried_again(
    state: SharedState, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, tried = await state.store(), threading.Semaphore(0)
    put = type(store).put
    failures = iter([True, True])

    async def fails(*args: object, **options: object) -> int:
        tried.release()
        if next(failures, False):
            raise BrokerUnavailableError("away")
        return await put(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(type(store), "put", fails)
    attendance = Attendance(describe, period=0.01)
    changes = changes_of(state)
    await attendance.join(state, "a")
    await next_with(changes, ["a"])
    await attendance.leave(state, "a")


async def test_a_defect_of_the_entry_ends_no_worker(state: SharedState, caplog: pytest.LogCaptureFixture) -> None:
    broken = iter([True])

    def described(consumers: Sequence[str], now: float) -> Presence:
        if next(broken, False):
            raise RuntimeError("a defect")
        return describe(consumers, now)

    attendance = Attendance(described, period=0.01)
    changes = changes_of(state)
    await attendance.join(state, "a")
    await next_with(changes, ["a"])
    await attendance.leave(state, "a")
    assert "a defect" in caplog.text


async def test_several_states_have_entries_of_their_own(state: SharedState) -> None:
    driver = MemoryDriver("app:other")
    await driver.open()
    other = SharedState(driver, "state", SystemClock())
    attendance = Attendance(describe)
    here, there = changes_of(state), changes_of(other)
    await attendance.join(state, "a")
    await attendance.join(other, "b")
    await asyncio.gather(next_with(here, ["a"]), next_with(there, ["b"]))
    await attendance.leave(state, "a")
    assert not (await (await state.store()).list(PRESENCE)).entries
    assert (await (await other.store()).list(PRESENCE)).entries
    await attendance.leave(other, "b")
    assert not (await (await other.store()).list(PRESENCE)).entries
    await other.close(driver)
    await driver.close()
