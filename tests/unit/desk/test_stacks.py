"""The page of a worker shows where its handlers stand, in this process and, through the store, in another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasuki import App
from tasuki.desk.desk import alone
from tasuki.desk.security.access import Access
from tests.unit.desk.browser import Browser

pytestmark = pytest.mark.anyio


async def far_away(gate: asyncio.Event) -> None:
    token = "hunter2"  # noqa: F841 - must be masked
    await gate.wait()


def working(url: str, root: Path, gate: asyncio.Event, started: asyncio.Event) -> App:
    app = App(url, root=root)

    @app.queue("mails").consumer(name="sender", concurrency=2)
    async def send(body: Any) -> None:
        started.set()
        await far_away(gate)

    return app


async def stacks(browser: Browser) -> str:
    page = (await browser.get("/workers")).text
    link = page.split('class="open" href="')[1].split('"')[0]
    return (await browser.get(f"{link}?tab=stacks")).text


@pytest.mark.parametrize("way", ["memory", "store"])
async def test_where_a_handler_stands(way: str, tmp_path: Path) -> None:
    gate, started = asyncio.Event(), asyncio.Event()
    url = "memory://" if way == "memory" else f"sqlite:///{tmp_path / 'queue.db'}"
    app = working(url, tmp_path, gate, started)
    async with app.worker():
        desk = (
            app.desk(is_open=True)
            if way == "memory"
            else alone(working(url, tmp_path, gate, started), Access(is_open=True))
        )
        await desk.site.open()
        transport = httpx.ASGITransport(desk)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            browser = Browser(client, desk)
            try:
                idle = await stacks(browser)
                job = await app.publish("mails", {"n": 1})
                await started.wait()
                busy = await stacks(browser)
                [worker] = (await browser.get("/api/v1/workers")).json()["items"]
                events = await browser.get(f"/api/v1/workers/{worker['id']}/events")
            finally:
                gate.set()
                await desk.close()
    assert [each["kind"] for each in events.json()["consumers"]["app:sender"]][:2] == ["received", "started"]
    assert "No handler runs now." in idle
    assert f"/messages/app:mails/{job.id}" in busy
    assert "in send" in busy
    assert "in far_away" in busy
    assert "/tasuki/consumers/" not in busy
    assert "1 frame of a library" in busy  # Event.wait
    assert "hunter2" not in busy
