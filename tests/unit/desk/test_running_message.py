"""The page of a message that runs: what its worker alone knows, in this process and, through the store, in another."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasuki import App
from tasuki.desk.desk import alone
from tasuki.desk.security.access import Access
from tasuki.moments import unix
from tests.unit.desk.browser import Browser, words

pytestmark = pytest.mark.anyio


class Gate:
    """Lets handlers say that they have begun, and lets them go on."""

    def __init__(self) -> None:
        self.begun, self.over = asyncio.Event(), threading.Event()
        self.loop = asyncio.get_running_loop()

    def wait_for_a_lock(self) -> None:
        self.loop.call_soon_threadsafe(self.begun.set)
        self.over.wait()


def working(url: str, root: Path, gate: Gate) -> App:
    app = App(url, root=root)

    @app.queue("mails", lease="40s").consumer(name="sender")
    def send(body: Any) -> None:
        gate.wait_for_a_lock()

    @app.queue("calls").consumer(name="caller")
    async def call(body: Any) -> None:
        gate.begun.set()
        await asyncio.to_thread(gate.over.wait)

    return app


@asynccontextmanager
async def running(way: str, root: Path, queue: str = "mails") -> AsyncIterator[tuple[Browser, str]]:
    """A browser of a desk in the process of the worker or beside it, and the path of a message that runs."""
    gate = Gate()
    url = "memory://" if way == "memory" else f"sqlite:///{root / 'queue.db'}"
    app = working(url, root, gate)
    async with app.worker():
        desk = app.desk(is_open=True) if way == "memory" else alone(working(url, root, gate), Access(is_open=True))
        await desk.site.open()
        transport = httpx.ASGITransport(desk)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            try:
                job = await app.publish(queue, {"order": 17, "password": "hunter2"}, {"tenant": "acme"})
                await gate.begun.wait()
                browser = Browser(client, desk)
                while job.id[:18] not in (await browser.get(f"/queues/app:{queue}?tab=running")).text:
                    await asyncio.sleep(0.05)  # its worker gives a sign within a second
                yield browser, f"/messages/app:{queue}/{job.id}"
            finally:
                gate.over.set()
                await desk.close()


async def told(browser: Browser, path: str) -> str:
    """The page once the worker has answered."""
    while "hunter2" in (page := (await browser.get(path)).text) or "&#34;order&#34;: 17" not in page:
        assert "hunter2" not in page
        await asyncio.sleep(0.05)
    return page


@pytest.mark.parametrize("way", ["memory", "store"])
async def test_the_page_of_a_running_message_has_all_that_its_worker_knows(way: str, tmp_path: Path) -> None:
    async with running(way, tmp_path) as (browser, path):
        page = await told(browser, path)
        answer = (await browser.get(f"/api/v1{path}")).json()
    text = words(page)
    assert "running" in text
    assert "tenant acme" in text, "its headers"
    assert "in wait_for_a_lock" in page, "its stack"
    assert "in send" in page
    assert "/tasuki/consumers/" not in page
    assert "Attempt 1" in text
    assert "Cancel requested" not in text
    assert 'href="/workers/' in page.split("<main")[1], "a link to its worker"
    lease = text.split("Lease", 1)[1]
    assert re.match(r" none: the broker keeps it" if way == "memory" else r" [34]\d s left", lease)
    assert (answer["body"]["value"]["order"], answer["headers"]["tenant"]) == (17, "acme")
    assert "wait_for_a_lock" in answer["stack"]
    assert answer["cancel_requested"] is None


async def test_a_lost_lease_is_said(tmp_path: Path) -> None:
    async with running("memory", tmp_path) as (browser, path):
        assert browser.desk.site.own is not None
        worker = browser.desk.site.own._runtime.live().consumers["app:sender"]
        for each in worker.now.workers:
            if each.delivery is not None:
                each.delivery.lost = True
        while "lost: it may run twice" not in await browser.text("/queues/app:mails?tab=running"):
            await asyncio.sleep(0.05)
        answer = (await browser.get(f"/api/v1{path}/explain")).json()
    assert [each["code"] for each in answer["causes"]] == ["running"]
    assert answer["causes"][0]["text"].endswith("; its lease is lost, so it may run twice")


async def test_a_plain_handler_says_what_a_cancel_can_do(tmp_path: Path) -> None:
    async with running("store", tmp_path) as (browser, path):
        await told(browser, path)
        ask = path.replace("/messages/app:mails/", "/confirm?act=cancel&kind=queue&id=app:mails&message=")
        assert "not before a call that waits outside Python" in await browser.text(ask)
        await browser.act(ask)
        page = await told(browser, path)
        assert "Cancel requested" in words(page)
        assert "It is a plain function" in words(page).replace("Its handler is", "It is")
        answer = (await browser.get(f"/api/v1{path}")).json()
        assert answer["is_cancel_requested"]
        assert 0 <= time.time() - unix(answer["cancel_requested"]) < 600


async def test_an_async_handler_is_interrupted_where_it_awaits(tmp_path: Path) -> None:
    async with running("memory", tmp_path, "calls") as (browser, path):
        page = await told(browser, path)
    assert "in call" in page


async def test_the_page_says_so_where_the_worker_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running("memory", tmp_path) as (browser, path):
        monkeypatch.setattr("tasuki.desk.reading.records.message_as_events", lambda *_: [])
        text = await browser.text(path)
    assert "Its worker has not reported its body, headers and stack yet." in text
