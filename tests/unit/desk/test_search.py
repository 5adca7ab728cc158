"""Messages are found by id, header and body, within bounds, and secrets are not guessed."""

from __future__ import annotations

import asyncio

import pytest

from tasuki import App
from tasuki.clock import SystemClock
from tasuki.desk.reading import search
from tasuki.desk.reading.search import SearchQuestion
from tasuki.observe.redact import masked
from tests.unit.desk.conftest import HOURLY, MakeBrowser

pytestmark = pytest.mark.anyio


async def searched(browse: MakeBrowser, question: str, status: int = 200) -> str:
    browser = browse()
    answer = await browser.get("/find", params={"q": question})
    assert answer.status_code == status, answer.text
    return answer.text


async def test_by_id(app: App, browse: MakeBrowser) -> None:
    job = await app.publish("images", {"n": 1}, HOURLY, delay="1h")
    await app.publish("mails", {"n": 1})
    found = await searched(browse, job.id)

    assert f"/messages/app:images/{job.id}" in found
    assert found.count('class="open"') == 1
    assert "No waiting message was found." in await searched(browse, "0197-none")


@pytest.mark.parametrize(
    "question",
    [
        "body.user.id == 7",
        'headers.tenant == "acme"',
        'queue == "app:mails" and body.user.id > 5',
        "age < 3600 and body.user.id in [7, 8]",
        'body.note contains "日本"',
    ],
)
async def test_by_a_question(app: App, browse: MakeBrowser, question: str) -> None:
    job = await app.publish("mails", {"user": {"id": 7}, "note": "日本語"}, headers={"tenant": "acme"})
    await app.publish("mails", {"user": {"id": 1}, "note": "x"}, headers={"tenant": "other"})
    found = await searched(browse, question)

    assert job.id in found
    assert found.count('class="open"') == 1


async def test_what_cannot_be_judged_is_counted(app: App, browse: MakeBrowser) -> None:
    await app.publish("mails", {"n": "text"})
    await app.publish("mails", {"n": 3})
    found = await searched(browse, "body.n > 1")

    assert "1 could not be judged" in found
    assert "Looked through 2 messages" in found


@pytest.mark.parametrize("question", ["body.n >", "nothing == 1", "(((", "a" * 1001, "body.n == 'x' and"])
async def test_a_question_that_cannot_be_read_says_where(browse: MakeBrowser, question: str) -> None:
    assert 'role="alert"' in await searched(browse, question, 400)


async def test_secrets_are_not_guessed(app: App, browse: MakeBrowser) -> None:
    await app.publish("mails", {"password": "hunter2", "note": "password: hunter2"}, headers={"api_key": "k-123"})
    for question in ('body.password startsWith "h"', 'headers.api_key == "k-123"', 'body.note contains "hunter2"'):
        assert "No waiting message was found." in await searched(browse, question), question


def test_deep_bodies_are_masked_in_bounds() -> None:
    deep: object = {"password": 1}
    for _ in range(500):
        deep = [deep]
    assert "password" not in str(masked(deep))
    assert masked({"a": [{"token": 1, "b": 2}]}) == {"a": [{"token": "***", "b": 2}]}


async def test_by_an_id_as_screens_shorten_it(app: App, browse: MakeBrowser) -> None:
    job = await app.publish("images", {"n": 1}, HOURLY, delay="1h")
    own = await app.publish("mails", {"n": 1}, id="import/" + "7" * 50)
    assert f"{job.id[:18]}…" in await browse().text("/queues/app:images?tab=delayed")
    for text in (job.id[:18], f"{job.id[:18]}…", f"{job.id[:4]}…{job.id[-4:]}"):
        assert f"/messages/app:images/{job.id}" in await searched(browse, text), text
    assert "7" * 50 in await searched(browse, f"{own.id[:36]}…")
    assert "No waiting message was found." in await searched(browse, f"{job.id[:17]}…x")
    assert "No waiting message was found." in await searched(browse, "…")


def test_an_id_is_no_expression() -> None:
    assert SearchQuestion("schedule:app:x:1").id == "schedule:app:x:1"
    assert SearchQuestion(" 0197 ").id == "0197"
    assert SearchQuestion("id == '0197'").id == ""


async def test_bounds_are_told(app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PER_QUEUE", 500)
    await app._runtime.queue("mails").publish_many([{"n": number} for number in range(1200)])
    found = await searched(browse, "body.n == 1100")
    assert "No waiting message was found." in found
    assert "Not looked through to the end" in found

    monkeypatch.setattr(search, "HITS", 10)
    await app.publish("images", 1, HOURLY)
    assert 10 <= (await searched(browse, "body.n >= 0")).count('class="open"') <= 200


async def test_bodies_that_take_long_end_a_search_in_time(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter(range(1_000_000))
    monkeypatch.setattr(SystemClock, "monotonic", staticmethod(lambda: float(next(moments))))  # a body takes a second
    await app._runtime.queue("mails").publish_many([{"n": number} for number in range(100)])
    found = await searched(browse, "body.n == 99")
    assert "Not looked through to the end" in found
    assert "No waiting message was found." in found


async def test_few_searches_wait(app: App, browse: MakeBrowser) -> None:
    browser = browse()
    finder = browser.desk.tools.finder
    await finder._turn.acquire()
    await finder._turn.acquire()
    waiting = [asyncio.create_task(browser.get("/find", params={"q": "x"})) for _ in range(8)]
    while finder._waiting < 8:
        await asyncio.sleep(0)

    answer = await browser.get("/find", params={"q": "x"})
    assert answer.status_code == 503
    assert "other searches are under way" in answer.text
    waiting[0].cancel()
    finder._turn.release()
    finder._turn.release()
    assert {each.status_code for each in await asyncio.gather(*waiting[1:])} == {200}
    assert finder._waiting == 0


async def test_queues_that_are_closed_are_not_searched(app: App, browse: MakeBrowser) -> None:
    await app.publish("mails", {"n": 1})
    browser = browse()
    browser.desk.tools.acts.rights().may = lambda actor, act, id: id != "app:mails"  # type: ignore[method-assign]
    answer = await browser.get("/find", params={"q": "body.n == 1"})

    assert "No waiting message was found." in answer.text
    assert "1 queue is closed to you." in answer.text
