"""Brokers and stores that are silent or gone: every page answers within its time, with what it knows."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tasuki import App
from tasuki.app.schedules import statuses
from tasuki.desk.dead import library
from tasuki.desk.presentation.numbers import NONE
from tasuki.desk.reading import messages, rows, sampler, search
from tasuki.desk.site import Site
from tasuki.errors import BrokerUnavailableError, DriverError
from tests.unit.desk.browser import words
from tests.unit.desk.conftest import HOURLY, MakeBrowser
from tests.unit.desk.letters import bury

pytestmark = pytest.mark.anyio

AWAY = "redis://cache: connection refused"


async def silent(*_: object, **__: object) -> Any:
    await asyncio.Event().wait()


async def away(*_: object, **__: object) -> Any:
    raise BrokerUnavailableError(AWAY, driver="app:driver")


def driver_of(app: App) -> Any:
    return app._runtime.queue("mails").driver


@pytest.mark.parametrize("question", ["0197-none", "body.n == 1"])
async def test_a_search_ends_in_its_time_although_a_broker_is_silent(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    for name in ("mails", "images"):
        await app.publish(name, {"n": 1}, HOURLY)
    browser = browse()
    await browser.get("/find")
    asked = list[float]()
    at = Site.at

    async def noted(self: Site, queue: str, work: Any, *, patience: float = 10.0) -> Any:
        asked.append(patience)
        return await at(self, queue, work, patience=patience)

    monkeypatch.setattr(Site, "at", noted)
    monkeypatch.setattr(search, "TIME", 0.05)
    monkeypatch.setattr(search, "_LEAST", 0.01)
    monkeypatch.setattr(driver_of(app), "peek", silent)
    monkeypatch.setattr(driver_of(app), "find", silent)

    text = await browser.text("/find?q=" + question.replace("=", "%3D").replace(" ", "+"))

    assert asked
    assert max(asked) <= 0.05  # never the ten seconds of other work
    assert "app:images" in text.partition("Queues that")[2] + text


async def test_a_queue_that_cannot_be_counted_is_not_searched(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = browse()
    monkeypatch.setattr(driver_of(app), "depth", away)
    monkeypatch.setattr(driver_of(app), "peek", silent)  # it would wait forever

    text = await browser.text("/find?q=body.n+%3D%3D+1")

    assert "app:mails" in text


async def test_schedules_are_named_while_their_store_is_away(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statuses, "read_known", away)

    text = await browse().text("/schedules")

    assert AWAY in text
    assert "app:hourly" in text
    assert "No schedule is declared" not in text


async def test_a_message_is_shown_while_the_store_of_its_attempts_is_away(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await app.publish("mails", {"to": "kana"})
    browser = browse()
    monkeypatch.setattr(messages, "attempts_shown", away)
    monkeypatch.setattr(browser.desk.tools.asked, "explained", away)

    text = await browser.text(f"/messages/app:mails/{job.id}")

    assert '"to": "kana"' in text
    assert f"Its failed attempts cannot be read: {AWAY}" in text
    assert f"could not look at queue app:mails: {AWAY}" in text


async def test_an_export_that_cannot_begin_is_a_page_that_says_why(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(app, "1")
    browser = browse()
    monkeypatch.setattr(driver_of(app), "peek", away)

    answer = await browser.get("/dead/app:dead/export")

    assert answer.status_code == 503
    assert AWAY in words(answer.text)
    assert browser.desk.tools.library.downloads == 0


async def test_the_api_does_not_take_a_store_that_is_away_for_one_without_batches(
    browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = browse()
    assert (await browser.get("/api/v1/batches")).json() == {"items": []}
    monkeypatch.setattr(library, "_BATCHES_AGE", -1.0)
    monkeypatch.setattr(library, "_list", away)

    answer = await browser.get("/api/v1/batches")

    assert answer.status_code == 503
    assert AWAY in answer.json()["detail"]


async def test_a_page_that_cannot_be_made_loads_again_by_itself(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = browse()
    monkeypatch.setattr(sampler, "_FIRST", 0.01)
    monkeypatch.setattr(driver_of(app), "depth", silent)

    answer = await browser.get("/")
    gone = await browser.get("/nothing")

    assert answer.status_code == 503
    assert "the page reloads automatically" in words(answer.text)
    assert answer.headers["refresh"] == "5"
    assert "refresh" not in gone.headers


async def test_old_numbers_say_how_old_they_are(app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = browse()
    assert "ago" not in (await browser.text("/queues")).partition("Queues Ready")[2][:200]
    desk = browser.desk
    monkeypatch.setattr(driver_of(app), "depth", silent)
    monkeypatch.setattr(sampler, "_SOON", 0.01)
    monkeypatch.setattr(sampler, "_FIRST", 0.01)
    taken = desk.tools.sampler._last
    object.__setattr__(taken, "taken", taken.taken - 25)

    assert "from 25 s ago" in await browser.text("/queues")
    await desk.tools.sampler.close()


async def test_a_broker_that_is_back_is_seen_within_ten_seconds(app: App, browse: MakeBrowser) -> None:
    browser = browse()
    await browser.get("/")
    read = browser.desk.tools.sampler
    read._took = 1000.0
    before = read._last
    object.__setattr__(before, "taken", before.taken - sampler._LONGEST)

    assert await read.latest() is not before


async def test_what_is_known_of_a_thousand_queues_is_shown_although_their_broker_is_silent(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_ALL", 0.05)
    asked = list[str]()

    async def depth(name: str) -> Any:
        asked.append(name)
        await silent()

    monkeypatch.setattr(driver_of(app), "depth", depth)
    live = app._runtime.live()
    found = await rows.count(live, ["app:mails"] * 200)

    assert found.problems == {"app:mails": "no answer within 5 s"}
    assert len(asked) == 16  # the others are not waited for
    assert found.asked == {"app:mails"}


async def test_a_queue_that_was_not_read_says_why(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "count", away)

    text = await browse().text("/queues/app:mails")

    assert AWAY in text
    assert "it could not be read" not in text


async def test_what_is_not_known_is_no_zero(app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    await app.publish("mails", {"n": 1})
    browser = browse()
    depth = driver_of(app).depth

    async def some(name: str) -> Any:
        if name == "images":
            raise DriverError("the queue is damaged", driver="app:driver")
        return await depth(name)

    monkeypatch.setattr(driver_of(app), "depth", some)
    assert "Ready ≥ 1 " in await browser.text("/queues")
    assert (await browser.get("/api/v1/overview")).json()["totals"]["uncounted"] == 1
    monkeypatch.setattr(driver_of(app), "depth", away)
    monkeypatch.setattr(rows, "crew_of", away)
    await browser.desk.tools.sampler.latest(now=True)

    text = await browser.text("/queues")
    totals = (await browser.get("/api/v1/overview")).json()["totals"]

    for name in ("Ready", "Running", "Delayed", "Dead", "Workers"):
        assert f"{name} {NONE} " in text
    assert [totals[name] for name in ("ready", "running", "delayed", "dead", "workers")] == [None] * 5
    assert "No handler runs now." not in await browser.text("/")
    assert "What runs is not known" in await browser.text("/queues/app:mails?tab=running")
    assert AWAY in await browser.text("/topology")


async def test_letters_that_cannot_be_read_again_say_how_old_they_are(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(app, "1")
    browser = browse()
    assert "Read " not in await browser.text("/dead/app:dead")
    for shelf in browser.desk.tools.library._shelves.values():
        shelf.checked -= 90
    monkeypatch.setattr(driver_of(app), "peek", silent)

    for path in ("/dead/app:dead", "/dead"):
        text = await browser.text(path)
        assert "KeyError" in text
        assert re.search(r"Read 1 m 3\d s ago: the queue cannot be read now\.", text)
    await browser.desk.tools.library.close()


async def test_a_question_about_many_letters_says_that_their_broker_is_away(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(app, "1")
    browser = browse()
    monkeypatch.setattr(driver_of(app), "peek", away)

    answer = await browser.get("/dead/app:dead/confirm?act=redrive&by=cause&where=attempts+>+0")

    assert answer.status_code == 503
    assert AWAY in words(answer.text)
