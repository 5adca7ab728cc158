"""The dead letters of a desk that is alone, on every driver: seen, or borrowed; retried, and brought back."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tasuki.desk.desk import alone
from tasuki.desk.security.access import Access
from tests.support.brokers.everywhere import DRIVERS, overrides
from tests.support.desk_project import mails
from tests.unit.desk.browser import Browser, form_of, words

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

STATE = ("{name: file, kind: queue.driver.sqlite, path: state.db}", "{name: state, kind: store.sqlite, driver: file}")
COUNT = 60


def load(folder: Path, driver: str) -> App:
    return App.load(folder, overrides=overrides(driver, "app:driver", folder))


async def bury(app: App) -> None:
    headers: dict[str, Any] = {
        "x_original_queue": "app:mails", "x_dead_letter_reason": "rejected", "x_last_error": "KeyError: 'a'",
        "content_type": "json/plain", "attempts": 3,
        "x_dead_letter_time": app._runtime.clock.time(), "x_cause": "a1b2c3d4e5f6",
    }  # fmt: skip
    for start in range(0, COUNT, 10):
        batch = [Outgoing(f"{number:03}", b'{"n": 1}', dict(headers)) for number in range(start, start + 10)]
        assert not any(await app._runtime.queue("app:dead").forward(batch))


@pytest.mark.parametrize("driver", [driver for driver in DRIVERS if driver != "memory"])
async def test_dead_letters_on_a_driver(driver: str, tmp_path: Path) -> None:
    has_own = driver not in ("amqp", "sqs")
    more, dead = ((), "") if has_own else (STATE, ", state: state")
    (tmp_path / "_index.yaml").write_text(mails(*more, driver="sqlite", suffix=uuid4().hex[:8], dead=dead))
    desk = alone(load(tmp_path, driver), Access(is_open=True))
    transport = httpx.ASGITransport(desk)
    async with (
        load(tmp_path, driver) as app,
        httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client,
    ):
        await bury(app)
        await desk.site.open()
        try:
            await check(Browser(client, desk), app)
        finally:
            await desk.close()
        for queue in ("app:mails", "app:dead"):
            await app._runtime.queue(queue).delete()


async def check(browser: Browser, app: App) -> None:
    can = app._runtime.queue("app:dead").driver.capabilities
    if not can.has("peek"):
        text = await browser.text("/dead")
        assert f"Dead letters: {COUNT}, in queues: 1, in groups: 0. {COUNT} dead letters are in no group" in text, text
        assert f"cannot show messages without receiving them. Borrow {COUNT}, for up to 10 s" in text, text
        page = words((await browser.act("/dead/app:dead")).text)
        assert f"{COUNT} letters of app:dead were received and released." in page
    text = await browser.text("/dead")
    assert f"Dead letters: {COUNT}, in queues: 1, in groups: 1." in text, text
    assert "KeyError: 'a'" in text
    page = (await browser.get("/dead/app:dead")).text
    assert len(re.findall(r'name="ids" value="\d+"', page)) == 50
    action, fields = form_of(page)
    fields.pop("ids")
    asked = await browser.client.post(action, data={**fields, "act": "redrive", "ids": ["007", "011"]})
    action, fields = form_of(asked.text)
    fields.pop("ids")
    page_of_batch = await browser.client.post(
        action, data={**fields, "fast": "1", "ids": ["007", "011"]}, follow_redirects=True
    )
    assert page_of_batch.status_code == 200, words(page_of_batch.text)
    path = page_of_batch.url.path
    await until(browser, path, "Retry done 2 done")
    mails = await app._runtime.queue("app:mails").depth()
    assert mails.ready == 2
    if can.has("transfer"):
        fields = {"token": form_of((await browser.get(path)).text)[1]["token"], "verb": "undo"}
        await browser.post(path, fields)
        await until(browser, path, "Undone: 2 of 2")
    else:
        assert "Undo" not in await browser.text(path)


async def test_three_thousand_letters_of_rabbitmq_are_told_and_grouped_as_the_command_line_has_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "_index.yaml").write_text(mails(driver="sqlite", suffix=uuid4().hex[:8]))
    many = 3012
    desk = alone(load(tmp_path, "amqp"), Access(is_open=True))
    async with (
        load(tmp_path, "amqp") as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost", timeout=60) as client,
    ):
        await bury_many(app, many)
        await desk.site.open()
        try:
            browser = Browser(client, desk)
            text = await browser.text("/dead")
            assert "Dead letters: 3,012, in queues: 1, in groups: 0. 3,012 dead letters are in no group" in text, text
            assert "were read" not in text
            assert "No dead letters" not in text
            answer = (await browser.get("/api/v1/dead/groups")).json()
            assert (answer["count"], answer["unread"], answer["is_all"]) == (many, many, False)
            assert "Borrow 3,012, for up to 10 s" in await browser.text("/dead/app:dead")

            page = words((await browser.act("/dead/app:dead")).text)
            assert "3,012 letters of app:dead were received and released." in page, page

            await counted(app, "app:dead", many)
            told = await app.dead.letters()
            text = await browser.text("/dead")
            assert "Dead letters: 3,012, in queues: 1, in groups: 3. (borrowed" in text, text
            assert "ago: 3,012 of 3,012)" in text, text
            answer = (await browser.get("/api/v1/dead/groups")).json()
            assert (answer["count"], answer["unread"], answer["is_all"]) == (many, 0, True)
            groups = [(group["key"], group["count"]) for group in answer["groups"]]
            assert groups == [(group.key, group.count) for group in told.groups]
        finally:
            await desk.close()
        for queue in ("app:mails", "app:dead"):
            await app._runtime.queue(queue).delete()


async def bury_many(app: App, count: int) -> None:
    """Letters of three causes, of unequal numbers."""
    queue = app._runtime.queue("app:dead")
    batch = [
        Outgoing(
            f"{number:05}",
            b"{}",
            {
                "x_original_queue": "app:mails",
                "x_dead_letter_reason": "rejected",
                "x_last_error": f"KeyError: '{'aab'[number % 3] if number % 6 else 'c'}'",
                "x_dead_letter_time": app._runtime.clock.time(),
                "x_cause": f"{'aab'[number % 3] if number % 6 else 'c'}" * 12,
            },
        )
        for number in range(count)
    ]
    for start in range(0, count, 500):
        assert not any(await queue.forward(batch[start : start + 500]))


@pytest.mark.parametrize("driver", ["amqp", "sqs"])
async def test_an_act_on_many_says_that_it_needs_a_state(driver: str, tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(mails(driver="sqlite", suffix=uuid4().hex[:8]))
    async with load(tmp_path, driver) as app:
        await bury(app)
        transport = httpx.ASGITransport(app.desk(is_open=True))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            browser = Browser(client, transport.app)  # type: ignore[arg-type]
            await browser.act("/dead/app:dead")  # borrow
            action, fields = form_of((await browser.get("/dead/app:dead")).text)
            for act in ("redrive", "move", "remove"):
                asked = await client.post(action, data={**fields, "act": act, "ids": "007"})
                begin, values = form_of(asked.text)
                answer = await client.post(begin, data={**values, "to": "app:mails", "fast": "1"})
                assert (answer.status_code, "state" in words(answer.text)) == (400, True), words(answer.text)
            body = {"act": "retry", "queue": "app:dead", "ids": ["007"]}
            answer = await client.post("/api/v1/batches", json=body)
            assert (answer.status_code, answer.json()["code"]) == (409, "unsupported")
        await counted(app, "app:dead", COUNT)
        for queue in ("app:mails", "app:dead"):
            await app._runtime.queue(queue).delete()


async def counted(app: App, queue: str, number: int) -> None:
    """Wait for this depth: a broker counts released messages only once it has put them back."""
    found = -1
    try:
        async with asyncio.timeout(60):
            while (found := (await app._runtime.queue(queue).depth()).ready) != number:
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{found} messages of {queue}, not {number}") from None


async def until(browser: Browser, path: str, text: str) -> None:
    page = ""
    try:
        async with asyncio.timeout(60):
            while text not in (page := await browser.text(path)):
                assert "failed" not in page, page
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {text!r} on {path}: {page}") from None
