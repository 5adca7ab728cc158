"""Schedules of one state on several brokers: one that is unavailable delays its own ticks alone, from the start on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tasuki import App, Message
from tasuki.drivers import SQLite
from tests.support.ports import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

UNAVAILABLE = 70
"""Queues on the broker that cannot be reached: more than are published to at the same time."""


async def test_a_worker_that_starts_without_one_broker_fires_the_schedules_of_the_others(tmp_path: Path) -> None:
    app = App(SQLite(tmp_path / "here.db"))
    ticks: list[int] = []
    enough = asyncio.Event()

    beats = app.queue("beats", state="state")
    app.entry("state", "store.sqlite", {"driver": "driver"})

    @beats.consumer
    async def handle(message: Message) -> None:
        ticks.append(int(message.id.rpartition(":")[2]))
        if len(ticks) == 3:
            enough.set()

    app.entry("gone", "queue.driver.redis", {"url": f"redis://127.0.0.1:{free_port()}", "state": "state"})
    # The queue of the same name on the other broker is another queue.
    app.entry("others", "queue.queue", {"driver": "gone", "queue_name": "beats"})
    app.schedules.add("others-beat", "others", every="1s")
    for number in range(UNAVAILABLE):
        app.entry(f"far{number}", "queue.queue", {"driver": "gone"})
        app.schedules.add(f"far-beat{number}", f"far{number}", every="1s")
    app.schedules.add("beat", beats, every="1s")

    running = asyncio.create_task(app.run(signals=False))
    waiting = asyncio.create_task(enough.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    assert waiting.done(), "the worker has ended"
    running.cancel()
    waiting.cancel()
    await asyncio.wait([running, waiting])
    assert sorted(ticks) == list(range(min(ticks), min(ticks) + len(ticks))), "ticks are missing, or came twice"
