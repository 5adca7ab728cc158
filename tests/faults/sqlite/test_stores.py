"""Stores of SQLite on a disk that fills up."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.errors import StoreFullError
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_a_full_disk_takes_nothing_and_still_deletes(disk: Callable[..., Path]) -> None:
    driver = SQLiteDriver("sqlite", parsed(SQLiteSettings, path=disk("12m") / "queue.db"))
    await driver.open()
    store = driver.store("state")
    await store.open()
    confirmed: dict[str, Any] = {}

    async def fill() -> None:
        for number in count():
            key = f"{number:04}"
            confirmed[key] = await store.put(key, bytes(100_000))

    with pytest.raises(StoreFullError, match="disk is full") as caught:
        await fill()
    assert caught.value.retryable
    assert caught.value.outcome == "rejected"
    assert len(confirmed) > 10
    assert {entry.key: entry.version for entry in (await store.list(limit=1000)).entries} == confirmed
    assert await store.hold("place", "a", places=1, lease=60.0)
    await store.release("place", "a")
    for key in confirmed:
        assert await store.delete(key)
    assert (await store.list()).entries == []
    await store.put("new", bytes(100_000))
    await driver.close()
