"""A worker's health in its entry: what its probes report, told while its event loop is blocked."""

from __future__ import annotations

import asyncio
import queue
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.drivers.sqlite.state.store import SQLiteStore
from tasuki.state.worker_record import WorkerHealth, decode

pytestmark = pytest.mark.anyio


async def test_a_worker_says_in_its_entry_at_once_that_it_is_not_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status of its own report, written by threads: the event loop of this test stands still meanwhile."""
    app, told = App(f"sqlite:///{tmp_path / 'queue.db'}"), queue.SimpleQueue[WorkerHealth | None]()
    tasks, put = app.queue("tasks"), SQLiteStore.put

    @tasks.consumer()
    async def handle(body: Any) -> None:
        while (health := told.get(timeout=30)) is None or health.status != "not_live":
            pass
        seen.append(health)
        while (health := await asyncio.to_thread(told.get, timeout=30)) is None or health.status != "ok":
            pass
        seen.append(health)
        over.set()

    async def noting(store: SQLiteStore, key: str, value: bytes, **options: Any) -> int:
        version = await put(store, key, value, **options)
        if (entry := decode(value)) is not None:
            told.put(entry.health)
        return version

    seen, over = list[WorkerHealth](), asyncio.Event()
    monkeypatch.setattr(SQLiteStore, "put", noting)
    async with app.worker():
        await app.publish("tasks", 1)
        await over.wait()
        assert not app.health.examiner.asks, "an entry asks the brokers nothing"
    blocked, well = seen
    assert (blocked.check, well) == ("loop", WorkerHealth("ok"))
    assert "the event loop has been blocked for" in blocked.text
    assert "by the handler app:handle" in blocked.text
