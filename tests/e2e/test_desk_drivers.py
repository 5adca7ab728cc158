"""The desk on every driver: it counts, lists where the driver can, acts, and says so where it cannot."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tasuki import App
from tasuki.desk.desk import alone
from tasuki.desk.security.access import Access
from tasuki.testing.clock import FakeClock
from tests.support.brokers.everywhere import DRIVERS, overrides
from tests.support.desk_project import mails
from tests.unit.desk.browser import Browser, words

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

MORE = (
    '{name: func, kind: function.lua, source: "return function() end"}',
    "{name: sender, kind: queue.consumer, queue: mails, func: func}",
)
PURGE = "/confirm?act=purge&kind=queue&id=app:mails"


def load(folder: Path, driver: str) -> App:
    return App.load(folder, overrides=overrides(driver, "app:driver", folder))


@pytest.mark.parametrize("driver", [driver for driver in DRIVERS if driver != "memory"])
async def test_the_desk_on_a_driver(driver: str, tmp_path: Path) -> None:
    id = uuid4().hex[:8]
    (tmp_path / "_index.yaml").write_text(mails(*MORE, driver="sqlite", suffix=id))
    desk = alone(load(tmp_path, driver), Access(is_open=True))
    transport = httpx.ASGITransport(desk)
    async with (
        load(tmp_path, driver) as app,
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        browser = Browser(client, desk)
        await desk.site.open()
        try:
            for number in range(3):
                await app.publish("mails", {"number": number})
            await check(browser, app)
            await app._runtime.queue("app:mails").delete()
        finally:
            await desk.close()


@pytest.mark.parametrize("driver", [driver for driver in DRIVERS if driver not in ("memory", "amqp", "sqs")])
async def test_the_history_of_two_processes(driver: str, tmp_path: Path) -> None:
    id = uuid4().hex[:8]
    (tmp_path / "_index.yaml").write_text(mails(*MORE, driver="sqlite", suffix=id))
    clock = FakeClock(time.time())
    apps = [App.load(tmp_path, overrides=overrides(driver, "app:driver", tmp_path), clock=clock) for _ in range(2)]
    async with apps[0], apps[1]:
        for number, app in enumerate(apps):
            await app.publish("mails", {"number": number})
        await apps[0]._runtime.queue("app:mails").depth()
        clock.set_off(60)
        for app in apps:
            own = app._runtime.history
            assert own is not None
            own._tick()  # as its timer does every five seconds
            await own._write_pending()
        clock.set_off(-60)  # the clock of the broker has not moved

        for app in apps:
            assert sum(each.published for each in await app.queue("mails").history()) == 2
        await apps[0]._runtime.queue("app:mails").delete()


async def check(browser: Browser, app: App) -> None:
    can = app._runtime.queue("app:mails").driver.capabilities
    assert "app:mails app:driver" in await browser.text("/queues")
    page = await browser.text("/queues/app:mails")
    assert ('"number":2' in page) is can.has("peek"), page
    assert ("cannot show messages without receiving them" in page) is not can.has("peek")
    overview = await browser.text("/")
    assert ("The workers are not known" in overview) is not can.has("store"), overview
    assert ("no worker consumes" in overview) is can.has("store")
    assert "Why not yet: " in page or not can.has("store")
    found = await browser.text("/find?q=body.number+%3D%3D+1")
    assert ("Looked through 3 messages" in found) is can.has("peek"), found
    assert ("Cannot be looked into: app:mails" in found) is not can.has("peek"), found
    for path in (
        "/topology",
        "/queues/app:mails?tab=history",
        "/",
        "/dead",
        "/workers",
        "/schedules",
        "/queues/app:mails?tab=delayed",
        "/queues/app:dead",
    ):
        assert (await browser.get(path)).status_code == 200
    paused = await browser.act("/confirm?act=pause&kind=queue&id=app:mails")
    assert ("is paused." in words(paused.text)) is can.has("store"), words(paused.text)
    if can.has("purge"):
        purged = await browser.act(PURGE, name="app:mails")
        assert "messages from app:mails." in words(purged.text), words(purged.text)
        assert (await app._runtime.queue("app:mails").depth()).ready == 0
        acts = await browser.text("/audit")
        assert ("purge app:mails" in acts) is can.has("store"), acts
    for path, is_there in (
        ("overview", True),
        ("queues/app:mails", True),
        ("queues/app:mails/messages", can.has("peek")),
        ("dead/app:dead", can.has("peek")),
        ("audit", True),
    ):
        answer = await browser.get(f"/api/v1/{path}")
        assert answer.status_code == (200 if is_there else 409), answer.text
        assert is_there or answer.json()["code"] == "unsupported"
