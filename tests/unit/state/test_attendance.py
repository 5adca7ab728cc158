"""Attendance: a worker's entry in the stores of its consumers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from tasuki.clock import SystemClock
from tasuki.contracts.state.store import CURRENT, Change
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError
from tasuki.state.attendance import Attendance
from tasuki.state.presence import PRESENCE, TTL, Presence, PresentConsumer, decode
from tasuki.state.shared import SharedState
from tasuki.testing.conformance import ShiftedClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def state(clock: ShiftedClock) -> AsyncIterator[SharedState]:
    driver = MemoryDriver("app:db", clock=clock)
    await driver.open()
    state = SharedState(driver, "state", SystemClock())
    yield state
    await state.close(driver)
    await driver.close()


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


async def test_a_worker_without_signs_is_gone_after_its_time(state: SharedState, clock: ShiftedClock) -> None:
    attendance = Attendance(describe, period=3600)
    changes = changes_of(state)
    await attendance.join(state, "a")
    await next_with(changes, ["a"])
    clock.advance(TTL - 1)
    assert (await (await state.store()).list(PRESENCE)).entries
    clock.advance(1.1)
    assert not (await (await state.store()).list(PRESENCE)).entries
    await attendance.leave(state, "a")


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
