"""The claim of an idempotency key outlives a handler that blocks the event loop, on each driver with a store."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tests.support.brokers.everywhere import overrides
from tests.support.brokers.rig import fresh

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("driver", ["sqlite", "redis", "postgres", "nats"])
async def test_a_handler_that_blocks_the_event_loop_keeps_its_key(
    driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasuki.consumers.jobs.idempotent._SHORTEST", 1.0)
    app = App("memory://", root=tmp_path, overrides=overrides(driver, "app:driver", tmp_path))
    jobs = app.queue("jobs", queue_name=fresh("claims"), lease="1s", result="1h")
    renewed, threads = threading.Semaphore(0), set[int]()

    @jobs.consumer(idempotency="header.order")
    async def pay(body: int) -> int:
        for _ in range(3):  # holds the loop for as long as one claim lasts
            assert renewed.acquire(timeout=30)
        return body

    async with app.worker():
        state = app._runtime.live().state_of("app:jobs")
        assert state is not None
        store = await state.store()
        put = store.put

        async def counted(key: str, value: bytes, **named: Any) -> int:
            version = await put(key, value, **named)
            if key.startswith("once/") and named.get("version"):
                threads.add(threading.get_ident())
                renewed.release()
            return version

        monkeypatch.setattr(store, "put", counted)
        first = await jobs.publish(1, {"order": "x"})
        assert await first.result("60s") == 1
        second = await jobs.publish(2, {"order": "x"})
        assert await second.result("60s") == 1
    assert threading.get_ident() in threads, "the end is recorded by the handler's loop"
    assert len(threads) == 2
