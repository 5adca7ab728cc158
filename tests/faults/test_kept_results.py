"""Results whose store takes no writes: the worker says so, and goes on as soon as the store does."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, QueueHandle
from tests.faults.sqlite.conftest import disk
from tests.support.brokers.redis import Redis

pytestmark = [pytest.mark.anyio, pytest.mark.fault]
__all__ = ["disk"]

PATIENCE = 60.0


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.05)


def of_consumer(app: App) -> tuple[str, str]:
    (check,) = [
        each for each in app.health.report().as_dict()["checks"] if each["name"] == "consumer app:work.consumer"
    ]
    return check["status"], check["text"]


async def told_and_healed(
    app: App, jobs: QueueHandle[Any], cure: Callable[[], Any], why: str, before: Callable[[], Any]
) -> None:
    """Publish more than the window holds while the store takes nothing; see it named, cure it, and see all results."""
    handled: list[int] = []
    gate = asyncio.Event()

    @jobs.consumer(prefetch=2, retry={"initial_delay": "1h", "max_delay": "1h"})
    async def work(body: int) -> int:
        handled.append(body)
        if body:
            await gate.wait()
        return body

    async with app.worker():
        assert await (await jobs.publish(0)).result() == 0
        found = [await jobs.publish(number) for number in range(1, 9)]
        before()
        gate.set()
        await until(lambda: of_consumer(app)[0] == "not_ready")
        assert why in of_consumer(app)[1]
        assert app.health.report().as_dict()["live"]
        assert len(handled) < 9
        cure()
        assert [await job.result("60s") for job in found] == list(range(1, 9))
        await until(lambda: of_consumer(app)[0] == "ok")
    assert sorted(handled) == list(range(9)), "no handler ran twice"


async def test_a_redis_that_is_killed(tmp_path: Path) -> None:
    with Redis() as broker:
        app = App("memory://", root=tmp_path)
        app.entry("redis", "queue.driver.redis", {"url": broker.url})
        app.entry("state", "store.redis", {"driver": "redis"})
        jobs = app.queue("jobs", state="state", result="1h")
        await told_and_healed(app, jobs, broker.start, "its result cannot be kept: BrokerUnavailableError", broker.kill)


async def test_a_full_disk(disk: Any) -> None:
    place = disk("8m")
    app = App("memory://", root=place)
    app.entry("file", "queue.driver.sqlite", {"path": str(place / "state.db")})
    app.entry("state", "store.sqlite", {"driver": "file"})
    jobs = app.queue("jobs", state="state", result="1h")

    def fill() -> None:
        with (place / "filler").open("wb", buffering=0) as out, contextlib.suppress(OSError):
            while out.write(os.urandom(4096)):
                pass

    await told_and_healed(app, jobs, (place / "filler").unlink, "StoreFullError", fill)
