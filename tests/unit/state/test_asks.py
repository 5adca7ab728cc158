"""Questions to another process for the latest events, through a store."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import StoreLimitError
from tasuki.state import recorder_requests
from tasuki.state.recorder_requests import Worker, answer, ask

pytestmark = pytest.mark.anyio

VIRTUAL_TIME = True


async def test_a_worker_that_does_not_answer_is_not_waited_for_long() -> None:
    driver = MemoryDriver("app:memory")
    await driver.open()
    store = driver.store("state")
    await store.open()
    assert await ask(store, Worker("elsewhere", 7), {"app:one"}, 50, patience=1.0) == {}


async def test_an_answer_that_is_too_large_loses_its_oldest_events() -> None:
    kept: list[bytes] = []

    class Small:
        async def put(self, key: str, value: bytes, *, ttl: float) -> None:
            assert ttl == recorder_requests.TTL
            if len(value) > 40:
                raise StoreLimitError("too large")
            kept.append(value)

    store: Any = Small()
    await answer(store, "asker", "app:one", [{"n": number} for number in range(20)])
    assert kept == [b'[{"n":15},{"n":16},{"n":17},{"n":18},{"n":19}]'] or b'"n":19' in kept[0]
    with pytest.raises(StoreLimitError):
        await answer(store, "asker", "app:one", [{"n": "x" * 100}])
