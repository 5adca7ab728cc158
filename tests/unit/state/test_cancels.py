"""The records of cancelled messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tasuki.contracts.state.store import Change
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.state.cancelling import PAGE, Cancel, CancelledIds, decode, key_of, records
from tasuki.state.pauses import Scale, reset_scale, scale, scale_key
from tasuki.state.shared import CONTROL, Controls, SharedState
from tasuki.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


def put(controls: Controls, key: str, value: bytes | None) -> None:
    controls.apply(Change(key, value, 1))


def test_a_record_says_which_messages_and_who_asks() -> None:
    record = Cancel(("a", "日本"), "asker")
    assert decode(record.encode()) == record


@pytest.mark.parametrize(
    "value", [b"", b"{}", b"[]", b"\xff", b'{"ids": 5, "asker": ""}', b'{"ids": ["a"]}', b"[" * 100_000], ids=len
)
def test_a_record_that_cannot_be_read_cancels_nothing(value: bytes) -> None:
    assert decode(value) == Cancel((), "")


def test_one_message_has_a_record_of_its_own() -> None:
    assert list(records("q", ["a"], "x", 7.5, is_strict=False)) == [
        (key_of("q", "a"), Cancel(("a",), "x", 7.5).encode())
    ]


def test_many_messages_share_records() -> None:
    ids = [f"id {number}" for number in range(2 * PAGE + 1)]
    found = list(records("q", ids, "x", 7.5, is_strict=False))
    assert [len(decode(value).ids) for _, value in found] == [PAGE, PAGE, 1]
    assert [id for _, value in found for id in decode(value).ids] == ids
    assert len({key for key, _ in found}) == 3


def test_records_of_long_ids_stay_small() -> None:
    ids = [f"{number:0>255}" for number in range(1000)]
    assert max(len(value) for _, value in records("q", ids, "x", 7.5, is_strict=False)) < 150_000


def test_a_strict_queue_has_a_record_for_each_message() -> None:
    assert [key for key, _ in records("q", ["a", "b"], "x", 7.5, is_strict=True)] == [
        key_of("q", "a"),
        key_of("q", "b"),
    ]


def test_the_ids_of_one_queue_follow_the_controls() -> None:
    controls, heard = Controls(), []
    put(controls, key_of("q", "a"), Cancel(("a",), "x").encode())
    put(controls, key_of("qq", "z"), Cancel(("z",), "x").encode())
    ids = CancelledIds(controls, "q", lambda ids, asker: heard.append((ids, asker)))
    assert "a" in ids
    assert "z" not in ids
    put(controls, key_of("q", "many"), Cancel(("a", "b"), "y").encode())
    assert heard == [(frozenset("ab"), "y")]  # a worker looks for each message that it holds
    assert ids.asker_of("a") == "y"
    put(controls, key_of("q", "a"), None)
    assert "a" in ids  # in the other record
    assert len(ids) == 2
    put(controls, key_of("q", "many"), None)
    assert len(ids) == 0
    assert ids.asker_of("a") == ""
    ids.close()
    put(controls, key_of("q", "c"), Cancel(("c",), "x").encode())
    assert "c" not in ids


KEY = scale_key("app:worker")


def entry(number: int) -> bytes:
    return Scale(number, 0.0, "").encode()


class Late:
    """A store whose answer to a change comes after the watch has reported that change, and something else."""

    def __init__(self, store: Any, meanwhile: Callable[[int], Awaitable[object]]) -> None:
        self._store = store
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, key: str, value: bytes, **more: Any) -> int:
        version: int = await self._store.put(key, value, **more)
        if key == CONTROL + KEY:
            await self._meanwhile(version)
        return version

    async def delete(self, key: str, **more: Any) -> bool:
        version = (await self._store.get(key)).version
        is_there: bool = await self._store.delete(key, **more)
        await self._meanwhile(version)
        return is_there


@pytest.fixture
async def state() -> SharedState:
    clock = FakeClock()
    driver = MemoryDriver("app:driver", clock=clock)
    await driver.open()
    return SharedState(driver, "state", clock)


async def late(state: SharedState, *reports: tuple[bytes | None, int]) -> None:
    """Have the next answer come after these reports; their versions count from the one of the change."""

    async def report(version: int) -> None:
        for value, offset in reports:
            state.controls.apply(Change(CONTROL + KEY, value, version + offset))

    state._store = Late(await state.store(), report)  # type: ignore[assignment]


async def test_a_later_order_of_another_process_holds(state: SharedState) -> None:
    await late(state, (entry(3), 0), (entry(4), 1))
    await scale(state, "app:worker", 3)
    assert state.controls.get(KEY) == entry(4)


async def test_an_order_that_another_process_has_taken_back_does_not_hold(state: SharedState) -> None:
    await late(state, (entry(3), 0), (None, 0))
    await scale(state, "app:worker", 3)
    assert state.controls.get(KEY) is None


async def test_an_order_that_the_store_has_lost_does_not_hold(state: SharedState) -> None:
    await late(state, (entry(3), 0))
    await scale(state, "app:worker", 3)
    state.controls.apply(Change(CONTROL + KEY, entry(2), 1))
    assert state.controls.get(KEY) == entry(2), "the store came back without its last write"


async def test_an_order_holds_again_whose_removal_the_store_has_lost(state: SharedState) -> None:
    await scale(state, "app:worker", 3)
    await late(state, (None, 0))
    assert await reset_scale(state, "app:worker")
    assert state.controls.get(KEY) is None
    found = Change(CONTROL + KEY, entry(3), 1)
    state.controls.apply(found)
    assert state.controls.get(KEY) == entry(3), "the store came back without its last write"


async def test_nothing_is_kept_of_an_order_that_has_ended(state: SharedState) -> None:
    await late(state, (entry(3), 0))
    await scale(state, "app:worker", 3)
    assert not state.controls._under_way
    assert not state.controls._ours
