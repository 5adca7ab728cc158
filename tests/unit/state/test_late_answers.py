"""Orders whose answer comes after the watch has reported them: what the store has is what holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tasuki.contracts.state.store import Change
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.state.pauses import Scale, reset_scale, scale, scale_key
from tasuki.state.shared import CONTROL, SharedState
from tasuki.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

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
