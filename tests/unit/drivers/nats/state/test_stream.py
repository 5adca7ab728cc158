"""Callers of many processes that change one subject at the same time: each gets its turn soon."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.nats.queues.setup import Storage
from tasuki.drivers.nats.state.records import Record, StoreSubjects
from tasuki.drivers.nats.state.stream import Step, StoreStream

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True
TRIP = 0.0004
"""Seconds that a read or a write takes."""
CALLS = 200


class Server:
    """One subject, whose conditional writes fail as the server's do."""

    sequence = 1


class Caller(StoreStream):
    """A process of its own: the locks of one do not help the others."""

    def __init__(self, server: Server) -> None:
        super().__init__("store", "nats", StoreSubjects(Names("tasuki"), "store"), Storage("file", 1))
        self.server = server

    async def read(self, connection: Any, *subjects: str) -> tuple[list[Record | None], float]:
        await asyncio.sleep(TRIP * random.uniform(0.5, 1.5))
        return [Record(self.server.sequence, b"", 0.0, 1.0)], 0.0

    async def _step(self, connection: Any, subject: str, step: Step[Any], expected: int) -> int | None:
        await asyncio.sleep(TRIP * random.uniform(0.5, 1.5))
        if expected != self.server.sequence:
            return None
        self.server.sequence += 1
        return self.server.sequence


@pytest.mark.parametrize("callers", [2, 8, 24])
async def test_no_caller_waits_much_longer_than_the_others(callers: int) -> None:
    random.seed(7)
    loop = asyncio.get_running_loop()
    connection: Any = SimpleNamespace(address=SimpleNamespace(timeout=10.0))
    server = Server()
    waits: list[float] = []

    async def call(caller: Caller) -> None:
        for _ in range(CALLS):
            begun = loop.time()
            await caller.change(connection, "subject", lambda record, now: Step(None, b"changed"))
            waits.append(loop.time() - begun)

    await asyncio.gather(*(call(Caller(server)) for _ in range(callers)))
    assert server.sequence == 1 + callers * CALLS
    assert max(waits) <= 0.5
    assert sum(waits) / callers <= callers * CALLS * 0.002
