"""A state on a memory driver, whose clock a module may replace."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tasuki.clock import Clock, SystemClock
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.state.shared import SharedState


@pytest.fixture
def clock() -> Clock:
    return SystemClock()


@pytest.fixture
def driver(clock: Clock) -> MemoryDriver:
    return MemoryDriver("app:memory", clock=clock)


@pytest.fixture
async def state(driver: MemoryDriver, clock: Clock) -> AsyncIterator[SharedState]:
    await driver.open()
    state = SharedState(driver, "state", clock)
    yield state
    await state.close(driver)
    await driver.close()
