"""A process of very many consumers: each queue shows what its consumer did, and the totals are whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasuki import App
from tasuki.state import worker_heartbeat
from tasuki.state.worker_record import MAX_BYTES

pytestmark = pytest.mark.anyio

PLACES = 2


def handler(number: int) -> Callable[[int], Any]:
    async def handle(body: int) -> None:
        if body < 0:
            raise ValueError(body)

    handle.__name__ = handle.__qualname__ = f"handle_{number}"
    return handle


def app_of(file: Path, consumers: int) -> App:
    app = App(f"sqlite:///{file}")
    for number in range(consumers):
        queue = app.queue(f"orders-{number:03}", retry={"initial_delay": "1h", "max_delay": "1h"})
        queue.consumer(name=f"handle-{number:03}", concurrency=PLACES)(handler(number))
    return app


async def seen(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(f"/api/v1{path}")
    while answer.status_code == 429:  # this test asks oftener than people do
        await asyncio.sleep(float(answer.headers["retry-after"]))
        answer = await client.get(f"/api/v1{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def until_handled(client: httpx.AsyncClient, done: int, failed: int) -> Any:
    """The worker when it has handled this many."""
    async with asyncio.timeout(60):
        while True:
            found = (await seen(client, "/workers"))["items"]
            if found and (found[0]["done"], found[0]["failed"]) == (done, failed):
                return found[0]
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("consumers", [101, 500])
async def test_each_of_very_many_queues_shows_its_consumer_and_no_alarm(consumers: int, tmp_path: Path) -> None:
    file, last = tmp_path / "queue.db", f"app:orders-{consumers - 1:03}"
    async with app_of(file, consumers).worker(), app_of(file, consumers) as reader:
        desk = reader.desk(is_open=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client:
            for queue in ("app:orders-000", last):
                for body in (1, 2, -1):
                    await reader.publish(queue, body)
            worker = await until_handled(client, 4, 2)
            overview = await seen(client, "/overview")
            queue = await seen(client, f"/queues/{last}")
        await desk.tools.sampler.close()
    assert len(worker["consumers"]) == consumers
    assert worker["left_out"] == 0
    assert [notice for notice in overview["notices"] if notice["code"] != "failing"] == [], "see below"
    assert (overview["totals"]["places"], overview["totals"]["workers"]) == (PLACES * consumers, 1)
    assert (queue["queue"]["workers"], queue["queue"]["delayed"]) == (1, 1)
    [consumer] = queue["consumers"]
    assert (consumer["processes"], consumer["done"], consumer["failed"]) == (1, 2, 1)


async def test_what_an_entry_hides_is_unknown_and_never_zero_or_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last consumers have no room in the entry: their queues are unknown, and the worker's totals are whole."""
    monkeypatch.setattr(worker_heartbeat, "MAX_BYTES", 1500)
    assert MAX_BYTES > 1500
    file, last = tmp_path / "queue.db", "app:orders-029"
    async with app_of(file, 30).worker(), app_of(file, 30) as reader:
        desk = reader.desk(is_open=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client:
            for queue in ("app:orders-000", last):
                for body in (1, 2, -1):
                    await reader.publish(queue, body)
            worker = await until_handled(client, 4, 2)
            await reader.workers.pause(last)
            await reader.publish(last, 3)  # it waits, and no listed worker would handle it
            await reader.workers.resume(last)
            await desk.tools.sampler.latest(now=True)
            overview = await seen(client, "/overview")
            known, hidden = [await seen(client, f"/queues/{id}") for id in ("app:orders-000", last)]
            page = (await client.get(f"/queues/{last}")).text
        await desk.tools.sampler.close()
    assert 0 < len(worker["consumers"]) < 30
    # The last seconds, of a busy machine, may have had the failed attempts alone.
    assert [notice for notice in overview["notices"] if notice["code"] != "failing"] == []
    totals = overview["totals"]
    assert (totals["places"], totals["workers"]) == (PLACES * 30, 1)
    assert (totals["now_out"], totals["now_failed"]) == (None, None)
    assert (known["queue"]["workers"], known["consumers"][0]["done"]) == (1, 2)
    names = ("workers", "running", "now_out", "now_failed")
    assert [hidden["queue"][name] for name in names] == [None] * 4
    counts = ("processes", "concurrency", "running", "done", "failed")
    assert [hidden["consumers"][0][name] for name in counts] == [None] * 5
    assert "no worker consumes" not in page
