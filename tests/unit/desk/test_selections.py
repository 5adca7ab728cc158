"""Acts on a selection, scaling, and ending delays: by forms, without a script."""

from __future__ import annotations

import logging
import re

import httpx
import pytest

from tasuki import App
from tasuki.contracts.driver import Nack
from tests.unit.desk.browser import Browser, form_of, words
from tests.unit.desk.conftest import HOURLY, MakeBrowser

pytestmark = pytest.mark.anyio

SCALE = "/confirm?act=scale&kind=consumer&id=app:sender"


async def choose(browser: Browser, act: str, ids: list[str], id: str = "", back: str = "/queues") -> httpx.Response:
    """Send the form of a list: the page that asks."""
    pairs = {"kind": "queue", "id": id, "act": act, "ids": ids, "back": back}
    return await browser.client.post("/confirm", data=pairs)


async def confirm(browser: Browser, page: httpx.Response) -> str:
    """Send the form of the page that asks; what it says then."""
    assert page.status_code == 200, page.text
    action, fields = form_of(page.text)
    ids = re.findall(r'name="ids" value="([^"]*)"', page.text)
    answer = await browser.client.post(action, data={**fields, "ids": ids}, follow_redirects=True)
    assert answer.status_code == 200, answer.text
    return words(answer.text)


async def test_queues_are_paused_and_resumed_together(
    app: App, browse: MakeBrowser, caplog: pytest.LogCaptureFixture
) -> None:
    browser = browse()
    await browser.get("/queues")
    asks = await choose(browser, "pause", ["app:mails", "app:images"])
    assert "Pause 2 queues?" in words(asks.text)

    with caplog.at_level(logging.INFO, "tasuki.desk"):
        said = await confirm(browser, asks)

    assert "Paused 2 queues." in said
    done = [record for record in caplog.records if record.getMessage().endswith("done")]
    assert sorted(record.target for record in done) == ["app:images", "app:mails"]  # type: ignore[attr-defined]
    assert "Resumed 2 queues." in await confirm(browser, await choose(browser, "resume", ["app:mails", "app:images"]))


async def test_messages_are_cancelled_together(app: App, browse: MakeBrowser) -> None:
    browser = browse()
    jobs = [await app.publish("mails", {"n": number}) for number in range(4)]
    await browser.get("/queues/app:mails")

    asks = await choose(browser, "cancel", [job.id for job in jobs[:3]], "app:mails", "/queues/app:mails")
    assert "Cancel 3 messages of app:mails?" in words(asks.text)
    said = await confirm(browser, asks)

    assert "Cancelled: 3 waiting, 0 running; not found: 0." in said
    assert (await app._runtime.queue("mails").depth()).ready == 1


async def test_delays_end(app: App, browse: MakeBrowser) -> None:
    browser = browse()
    jobs = [await app.publish("mails", {"n": number}, delay="1h") for number in range(3)]
    page = (await browser.get("/queues/app:mails?tab=delayed")).text
    assert "59 m" in page or "1 h 00 m" in page
    assert "published with a delay" in page
    assert "Reschedule…" in page

    answer = await browser.act(f"/confirm?act=reschedule&kind=queue&id=app:mails&message={jobs[0].id}")
    assert "1 message of app:mails is ready now." in words(answer.text)
    asks = await choose(browser, "reschedule", [job.id for job in jobs], "app:mails")
    assert "2 messages of app:mails are ready now." in await confirm(browser, asks)

    assert (await app._runtime.queue("mails").depth()).ready == 3
    answer = await browser.act(f"/confirm?act=reschedule&kind=queue&id=app:mails&message={jobs[0].id}")
    assert answer.status_code == 409
    assert "is delayed" in words(answer.text)


async def test_a_message_becomes_due_later(app: App, browse: MakeBrowser) -> None:
    browser = browse()
    job = await app.publish("mails", {"n": 1}, headers={"tenant": "acme"}, priority=None)
    other = await app.publish("mails", {"n": 2}, delay="1h")
    path = f"/confirm?act=reschedule&kind=queue&id=app:mails&message={job.id}"

    said = words((await browser.act(path, **{"in": "3h"})).text)
    assert "1 message of app:mails is due in 3h." in said
    [first, second] = await app._runtime.queue("mails").driver.peek("mails", 10)
    assert {first.id, second.id} == {job.id, other.id}
    moved = first if first.id == job.id else second
    assert moved.headers["tenant"] == "acme"
    assert app._runtime.queue("mails").decode(moved) == {"n": 1}
    assert (await app._runtime.queue("mails").depth()).delayed == 2
    assert re.search(r"2 h 59 m|3 h 00 m", await browser.text("/queues/app:mails?tab=delayed"))

    assert "app:mails is ready now" in words((await browser.act(path)).text)
    assert (await browser.act(path, **{"in": "soon"})).status_code == 400
    answer = await browser.act(path.replace(job.id, "gone"), **{"in": "1h"})
    assert answer.status_code == 409
    assert "waits there any more" in words(answer.text)


async def test_a_message_that_has_failed_can_only_run_now(app: App, browse: MakeBrowser) -> None:
    queue = app._runtime.queue("images")
    await app.publish("images", 1, HOURLY)
    [one] = await queue.driver.receive("images", 1, 1)
    await queue.driver.settle("images", [Nack(one.receipt, delay=3600, error="ValueError: no")])
    browser, path = browse(), f"/confirm?act=reschedule&kind=queue&id=app:images&message={one.id}"

    answer = await browser.act(path, **{"in": "1h"})
    assert answer.status_code == 409
    assert "can only run now" in words(answer.text)
    page = await browser.text("/queues/app:images?tab=retrying")
    assert "ValueError: no" in page
    assert "1 message of app:images is ready now." in words((await browser.act(path)).text)


async def test_a_message_whose_workers_died_can_only_run_now(app: App, browse: MakeBrowser) -> None:
    """Its deaths leave no error in its headers, but count as attempts."""
    queue = app._runtime.queue("images")
    await app.publish("images", 1, HOURLY)
    [one] = await queue.driver.receive("images", 1, 1)
    await queue.driver.start("images", [one.receipt])
    await queue.driver.close()
    await queue.driver.open()
    answer = await browse().act(f"/confirm?act=reschedule&kind=queue&id=app:images&message={one.id}", **{"in": "1h"})
    assert answer.status_code == 409
    assert "can only run now" in words(answer.text)


async def test_a_consumer_is_scaled_and_reset(app: App, browse: MakeBrowser) -> None:
    browser = browse()
    said = words((await browser.act(SCALE, concurrency="7")).text)
    assert "app:sender handles 7 messages at a time" in said
    assert "scaled to 7" in await browser.text("/queues/app:mails")

    assert "is scaled as it was declared" in words((await browser.act(SCALE)).text)
    assert "scaled to" not in await browser.text("/queues/app:mails")


@pytest.mark.parametrize("number", ["-1", "1001", "x", "1e3", "\uff19", "99999999"])
async def test_a_scale_out_of_bounds_asks_again(browse: MakeBrowser, number: str) -> None:
    answer = await browse().act(SCALE, concurrency=number)
    assert answer.status_code == 400
    assert 'name="concurrency"' in answer.text


@pytest.mark.parametrize(
    ("act", "ids", "id"),
    [
        ("pause", ["app:nothing"], ""),
        ("pause", ["app:sender"], ""),
        ("cancel", ["x" * 513], "app:mails"),
        ("cancel", ["a"], "app:nothing"),
        ("purge", ["app:mails"], ""),
        ("redrive", ["a", "b"], "app:dead"),
        ("scale", ["app:sender"], ""),
        ("nothing", ["a"], "app:mails"),
        ("cancel", [f"m{number}" for number in range(51)], "app:mails"),
        ("cancel", ["", "a"], "app:mails"),
    ],
)
async def test_a_selection_that_makes_no_sense_is_not_found(
    browse: MakeBrowser, act: str, ids: list[str], id: str
) -> None:
    assert (await choose(browse(), act, ids, id)).status_code == 404


async def test_an_empty_selection_says_so(browse: MakeBrowser) -> None:
    answer = await choose(browse(), "pause", [])
    assert answer.status_code == 400
    assert "Nothing is selected." in words(answer.text)


async def test_a_selection_needs_the_token_of_its_form(app: App, browse: MakeBrowser) -> None:
    browser = browse()
    await browser.get("/queues")
    fields = {"act": "pause", "kind": "queue", "id": "", "ids": ["app:mails"], "back": "/", "token": "guessed"}
    assert (await browser.client.post("/acts/pause", data=fields)).status_code == 403
    assert "paused" not in await browser.text("/queues/app:mails")


async def test_hostile_ids_are_text(browse: MakeBrowser) -> None:
    answer = await choose(browse(), "cancel", ['"><script>alert(1)</script>', "\u202egnp"], "app:mails")
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert "\\u202e" in answer.text
