"""SharedState: the store of some queues, and the watch on its controls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tasuki.clock import SystemClock
from tasuki.contracts.state.store import CURRENT, Change, Store
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.toolkit.threaded import Threaded
from tasuki.errors import BrokerUnavailableError, UnsupportedError
from tasuki.state import pauses, shared
from tasuki.state.shared import CONTROL, Controls, SharedState, States

pytestmark = pytest.mark.anyio


async def heard(controls: Controls, prefix: str) -> tuple[str, bytes | None]:
    """The next change."""
    news: asyncio.Future[tuple[str, bytes | None]] = asyncio.get_running_loop().create_future()
    end = controls.listen(prefix, lambda key, value: None if news.done() else news.set_result((key, value)))
    try:
        return await news
    finally:
        end()


async def put(store: Store, key: str, value: bytes) -> None:
    await store.put(CONTROL + key, value)


async def test_what_is_there_is_known_when_follow_returns(state: SharedState) -> None:
    store = await state.store()
    await put(store, "pause/queue/mails", b"1")
    await store.put("result/x", b"2")
    controls = await state.follow()
    assert controls.get("pause/queue/mails") == b"1"
    assert list(controls.under("")) == [("pause/queue/mails", b"1")]


async def test_changes_are_heard_by_prefix(state: SharedState) -> None:
    controls, store = await state.follow(), await state.store()
    pauses = asyncio.ensure_future(heard(controls, "pause/"))
    all_changes = asyncio.ensure_future(heard(controls, ""))
    await asyncio.sleep(0)
    await put(store, "scale/app:c", b"3")
    assert await all_changes == ("scale/app:c", b"3")
    assert not pauses.done()
    await put(store, "pause/queue/q", b"x")
    assert await pauses == ("pause/queue/q", b"x")
    gone = asyncio.ensure_future(heard(controls, "pause/"))
    await asyncio.sleep(0)
    await store.delete(CONTROL + "pause/queue/q")
    assert await gone == ("pause/queue/q", None)
    assert controls.get("pause/queue/q") is None


async def test_there_is_one_watch_for_all_who_follow(state: SharedState) -> None:
    found = await asyncio.gather(*(state.follow() for _ in range(5)))
    assert found == [state.controls] * 5
    assert len([task for task in asyncio.all_tasks() if task.get_name() == "watch app:memory"]) == 1


async def test_after_a_close_it_begins_again(state: SharedState, driver: MemoryDriver) -> None:
    await state.follow()
    await put(await state.store(), "pause/queue/q", b"1")
    await state.close(driver)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "watch app:memory"]
    await MemoryDriver.close(driver)
    await driver.open()
    await (await state.store()).delete(CONTROL + "pause/queue/q")
    assert (await state.follow()).get("pause/queue/q") is None


async def test_one_who_follows_is_told_when_it_is_closed_meanwhile(
    state: SharedState, driver: MemoryDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(self: Store, prefix: str = "") -> AsyncIterator[object]:
        await asyncio.Event().wait()
        yield CURRENT

    monkeypatch.setattr(type(await state.store()), "watch", never)
    following = asyncio.create_task(state.follow())
    while state._following is None:
        await asyncio.sleep(0)
    await state.close(driver)
    with pytest.raises(BrokerUnavailableError, match="closed before it could be read"):
        async with asyncio.timeout(10):
            await following


async def test_a_store_that_comes_back_empty_is_warned_of_with_the_lost_orders(
    state: SharedState, caplog: pytest.LogCaptureFixture
) -> None:
    await pauses.pause(state, "queue", "mails")
    await pauses.scale(state, "app:sender", 3)
    controls = await state.follow()
    store = await state.store()
    for entry in (await store.list(CONTROL)).entries:
        await store.delete(entry.key)
    while controls.get("scale/app:sender") is not None:
        await asyncio.sleep(0.01)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "came back without its entries" in warning
    assert "pause/queue/mails, scale/app:sender" in warning


def test_a_value_that_the_store_has_again_counts_though_its_version_is_lower() -> None:
    """A store that has lost its last write lists the value before it; a resume that was lost is a pause again."""
    controls = Controls()
    controls.apply(Change(CONTROL + "pause/queue/q", b"new", 9))
    controls.apply(Change(CONTROL + "pause/queue/q", b"old", 5))
    assert controls.get("pause/queue/q") == b"old"
    controls.apply(Change(CONTROL + "pause/queue/q", None, 5))
    controls.apply(Change(CONTROL + "pause/queue/q", b"old", 5))
    assert controls.get("pause/queue/q") == b"old"


def test_a_change_of_this_process_is_kept_until_the_watch_reports_it() -> None:
    controls = Controls()
    controls.change(Change(CONTROL + "key", b"ours", 7))
    controls.apply(Change(CONTROL + "key", b"older", 6))
    assert controls.get("key") == b"ours"
    controls.apply(Change(CONTROL + "key", b"ours", 7))
    controls.apply(Change(CONTROL + "key", b"listed", 6))
    assert controls.get("key") == b"listed"


async def test_each_driver_and_each_name_has_its_own(driver: MemoryDriver) -> None:
    states = States(SystemClock())
    assert states.of(driver) is states.of(driver)
    assert states.of(driver) is not states.of(driver, "other")
    assert states.of(driver) is not states.of(MemoryDriver("app:memory"))


async def test_a_driver_without_stores_says_so() -> None:
    with pytest.raises(UnsupportedError, match="driver 'm' has no store: name one of another driver"):
        await SharedState(Threaded(MemoryDriver("m")), "state", SystemClock()).store()


async def test_one_who_cannot_hear_of_a_change_leaves_the_others_their_news(
    state: SharedState, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared, "_PAUSE", 0.0)
    controls, store = await state.follow(), await state.store()

    def fail(key: str, value: bytes | None) -> None:
        raise ZeroDivisionError

    end = controls.listen("pause/queue/a", fail)
    await put(store, "pause/queue/a", b"1")
    while "cannot follow the state" not in caplog.text:
        await asyncio.sleep(0)
    end()
    later = asyncio.ensure_future(heard(controls, "pause/queue/b"))
    await asyncio.sleep(0)
    await put(store, "pause/queue/b", b"2")
    async with asyncio.timeout(5):
        assert await later == ("pause/queue/b", b"2")


async def test_a_store_that_is_not_there_is_made_by_a_write_alone(
    driver: MemoryDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await driver.open()
    inner, made = driver.store("other"), asyncio.Event()
    make = inner.open

    async def is_there() -> bool:
        return made.is_set()

    async def opened() -> None:
        made.set()
        await make()

    monkeypatch.setattr(inner, "exists", is_there)
    monkeypatch.setattr(inner, "open", opened)
    store = shared.MadeByWriting(inner, SystemClock())
    await store.open()
    assert (await store.get("a"), (await store.list()).entries, await store.delete("a")) == (None, [], False)
    await store.release("a", "holder")
    await store.give("a", 1, rate=1.0, burst=1)
    assert not made.is_set()
    await store.put("a", b"1")
    assert made.is_set()
    assert await store.delete("a")
    await store.close()
    await driver.close()


def test_a_change_that_is_reported_late_does_not_bring_a_deleted_key_back() -> None:
    controls = Controls()
    controls.apply(Change(CONTROL + "a", b"1", 1))
    controls.change(Change(CONTROL + "a", None, 1))
    controls.apply(Change(CONTROL + "a", b"1", 1))
    assert controls.get("a") is None
    controls.apply(Change(CONTROL + "a", b"2", 2))
    assert controls.get("a") == b"2"


def test_many_keys_that_came_and_went_leave_nothing_behind() -> None:
    controls = Controls()
    for number in range(5_000):
        controls.apply(Change(f"{CONTROL}cancel/{number}", b"", number + 1))
        controls.apply(Change(f"{CONTROL}cancel/{number}", None, number + 1))
    assert not any(vars(controls).values())
