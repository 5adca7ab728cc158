"""One dead letter is found by its id, also where the broker shows none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import Received
from tasuki.dead.walk import letter_of
from tasuki.drivers.memory.driver import MemoryDriver
from tests.unit.dead.batches.conftest import app, queues
from tests.unit.dead.batches.letters import bury, ids, many

__all__ = ["app", "queues"]
pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


async def test_what_is_held_until_it_comes_keeps_its_leases(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker gives slowly: to reach the letter takes longer than a lease of 30 s."""
    receive, renewed = MemoryDriver.receive, list[int]()

    async def slow(self: MemoryDriver, queue: str, limit: int, wait: float) -> list[Received]:
        await asyncio.sleep(4)
        return await receive(self, queue, min(limit, 10), wait)

    async def extend(self: MemoryDriver, queue: str, batch: Any, lease: float) -> list[Any]:
        renewed.append(len(batch))
        return []

    async with app:
        await bury(app, *many(100), "x")
        with monkeypatch.context() as patch:
            less = MemoryDriver.capabilities.without("peek", "find").also("leases")
            patch.setattr(MemoryDriver, "capabilities", less)
            patch.setattr(MemoryDriver, "receive", slow)
            patch.setattr(MemoryDriver, "extend", extend)
            assert (await letter_of(app._runtime.queue("dead"), "x", app._runtime.clock)).id == "x"
        assert renewed == [30, 60, 90]
        assert await ids(app, "dead") == [*many(100), "x"]
