"""Acts on many letters: the question first, then the batch, its page and its buttons."""

from __future__ import annotations

import logging
import re
from typing import Any

import httpx
import pytest

from tasuki import App
from tasuki.drivers.memory.driver import MemoryDriver
from tests.unit.desk.browser import Browser, form_of, words
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.letters import bury, ids_in

pytestmark = pytest.mark.anyio

DEAD = "/dead/app:dead"
FAST = {"fast": "1"}


async def ended(app: App, answer: httpx.Response) -> str:
    """Wait for the end of the batch whose page this is; its text then."""
    batch = await app.dead.batches.wait(answer.url.path.rpartition("/")[2])
    return batch.state


async def pick(browser: Browser, act: str, *ids: str, **more: str) -> httpx.Response:
    """Select letters on the list, and press a button."""
    page = (await browser.get(DEAD)).text
    action, fields = form_of(page)
    fields.pop("ids", None)
    data: dict[str, Any] = {**fields, **more, "act": act, "ids": list(ids)}
    return await browser.client.post(action, data=data)


async def begin(browser: Browser, asked: httpx.Response, **fields: Any) -> httpx.Response:
    """Send the form of the page that asks."""
    action, values = form_of(asked.text)
    ids = re.findall(r'type="hidden" name="ids" value="([^"]*)"', asked.text)
    values.pop("fast", None)
    data: dict[str, Any] = {**values, "ids": ids, **fields}
    return await browser.client.post(action, data=data, follow_redirects=True)


async def test_a_canary_is_offered_where_letters_can_be_seen_to_fail_again(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(app, "1")
    browser = browse()
    seen = await browser.get(f"{DEAD}/confirm?act=redrive")
    monkeypatch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("peek"))
    unseen = await browser.get(f"{DEAD}/confirm?act=redrive")
    assert 'name="canary"' in seen.text
    assert 'name="canary"' not in unseen.text
    assert 'name="rate"' in unseen.text


async def test_selected_letters_are_retried(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1", "2", "3")
    browser = browse()

    asked = await pick(browser, "redrive", "1", "3")
    assert "Send 2 dead letters of app:dead back" in words(asked.text)
    assert "Retry 2 letters" in words(asked.text)
    assert "Type the name" not in asked.text
    page = await begin(browser, asked, **FAST)

    assert "A batch has begun on app:dead." in words(page.text)
    assert await ended(app, page) == "done"
    assert await ids_in(app, "mails") == ["1", "3"]
    assert await ids_in(app, "dead") == ["2"]
    text = await browser.text(page.url.path)
    assert "Retry done 2 done / 2" in text
    assert "Retry · app:dead" in await browser.text("/dead")


async def test_letters_are_moved_to_a_queue_of_the_project(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1", "2")
    browser = browse()
    asked = await pick(browser, "move", "1")
    wrong = await begin(browser, asked, to="app:nothing", **FAST)
    assert (wrong.status_code, "there is no queue" in wrong.text) == (400, True)
    empty = await begin(browser, asked, to="")
    assert (empty.status_code, "say where to" in empty.text) == (400, True)
    page = await begin(browser, asked, to="app:images", **FAST)
    assert await ended(app, page) == "done"
    assert await ids_in(app, "images") == ["1"]


async def test_an_act_on_a_filter_asks_for_the_name_of_the_queue(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1", error="ValueError: b")
    await bury(app, "2", "3")
    browser = browse()
    asked = await browser.get(f"{DEAD}/confirm?act=remove&by=type&group=KeyError&where=age > 1")
    text = words(asked.text)
    assert "Delete 2 dead letters of app:dead?" in text
    assert "Type of error KeyError Where age > 1" in text
    assert "For 15 minutes, until the trash is emptied." in text

    for name in ("", "app:mails", "dead"):
        wrong = await begin(browser, asked, name=name, **FAST)
        assert (wrong.status_code, "The name is not app:dead" in wrong.text) == (400, True)
        assert len(await ids_in(app, "dead")) == 3
    page = await begin(browser, asked, name="app:dead", **FAST)

    assert await ended(app, page) == "done"
    assert await ids_in(app, "dead") == ["1"]
    fields = {"token": form_of(page.text)[1]["token"], "verb": "undo"}
    page = await browser.post(page.url.path, fields)
    assert await ended(app, page) == "undone"
    assert sorted(await ids_in(app, "dead")) == ["1", "2", "3"]
    assert "Undone: 2 of 2; 0 were not there any more." in await browser.text(page.url.path)


async def test_if_there_are_many_more_letters_it_asks_again(app: App, browse: MakeBrowser) -> None:
    await bury(app, *(f"{number:02}" for number in range(20)))
    browser = browse()
    asked = await browser.get(f"{DEAD}/confirm?act=redrive")
    await bury(app, "more")
    await bury(app, "and more", "and more still")
    page = await begin(browser, asked, name="app:dead", **FAST)
    assert (page.status_code, "There are more letters now" in page.text) == (409, True)
    assert "Retry 23 letters" in words(page.text)
    assert len(await ids_in(app, "dead")) == 23
    assert await ended(app, await begin(browser, page, name="app:dead", **FAST)) == "done"
    assert len(await ids_in(app, "mails")) == 23


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"rate": "fast"}, "a rate is a number of letters a second, not 'fast'"),
        ({"rate": "0"}, "a rate is above 0 letters a second, not 0"),
        ({"rate": "nan"}, "a rate is above 0 letters a second, not nan"),
        ({"rate": "-1"}, "a rate is above 0"),
        ({"canary": "few"}, "a whole one, not 'few'"),
        ({"canary": "99"}, "a canary is 0 to 49"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_begins(
    app: App, browse: MakeBrowser, fields: dict[str, str], problem: str
) -> None:
    await bury(app, "1")
    browser = browse()
    page = await begin(browser, await pick(browser, "redrive", "1"), **fields)
    assert page.status_code == 400
    assert problem in words(page.text)
    assert await app.dead.batches.list() == []


async def test_a_batch_is_paused_resumed_and_cancelled(app: App, browse: MakeBrowser) -> None:
    await bury(app, *(f"{number:02}" for number in range(20)))
    browser = browse()
    page = await begin(browser, await browser.get(f"{DEAD}/confirm?act=redrive"), name="app:dead", rate="0.001")
    path = page.url.path
    for verb, state, others in (
        ("pause", "paused", "Resume Cancel"),
        ("resume", "running", "Pause Cancel"),
        ("cancel", "cancelled", ""),
    ):
        fields = {"token": form_of((await browser.get(path)).text)[1]["token"], "verb": verb}
        page = await browser.post(path, fields)
        assert page.status_code == 200, page.text
        text = words(page.text)
        assert f"Retry {state}" in text
        assert others in text
    again = await browser.post(path, fields)
    assert again.status_code == 409
    assert (await browser.post(path, fields | {"verb": "explode"})).status_code == 404
    assert (await browser.post(path, {"verb": "pause"})).status_code == 403
    assert (await browser.get("/batches/none")).status_code == 404


async def test_nothing_begins_without_a_selection_an_act_or_a_form_of_ours(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1")
    browser = browse()
    assert "No letter is selected." in words((await pick(browser, "redrive")).text)
    assert (await pick(browser, "explode", "1")).status_code == 404
    assert (await pick(browser, "purge", "1")).status_code == 404
    for path in ("begin", "confirm", "borrow"):
        assert (await browser.post(f"{DEAD}/{path}", {"act": "redrive", "ids": "1"})).status_code == 403
    assert (await browser.get(f"{DEAD}/confirm?act=redrive&ids=1")).status_code == 404
    assert (await browser.get(f"{DEAD}/confirm?act=redrive&where=colour")).status_code == 400
    assert (await browser.get("/confirm?act=delete&kind=queue&id=app:dead")).status_code == 404
    _, fields = await browser.form("/confirm?act=purge&kind=queue&id=app:dead")
    for act in ("move", "remove", "delete", "batch", "borrow", "export"):
        assert (await browser.post(f"/acts/{act}", fields | {"act": act})).status_code == 404
    assert await ids_in(app, "dead") == ["1"]


async def test_without_transfer_it_says_that_there_is_no_way_back(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(app, "1")
    monkeypatch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("transfer"))
    browser = browse()
    assert "This cannot be undone." in words((await pick(browser, "remove", "1")).text)


async def test_every_act_is_in_the_log_with_its_filter(
    app: App, browse: MakeBrowser, caplog: pytest.LogCaptureFixture
) -> None:
    await bury(app, "1", "2")
    browser = browse(actor="kana")
    with caplog.at_level(logging.INFO, "tasuki.desk"):
        asked = await browser.get(f"{DEAD}/confirm?act=redrive&where=attempts == 3")
        page = await begin(browser, asked, name="app:dead", **FAST)
        await ended(app, page)
    [before, after] = [record for record in caplog.records if record.name == "tasuki.desk"]
    facts = ("redrive", "app:dead", "kana", "attempts == 3")
    assert tuple(getattr(before, name) for name in ("act", "target", "actor", "filter")) == facts
    assert after.__dict__["result"]["batch"] == page.url.path.rpartition("/")[2]
    audit = await browser.text("/audit")
    assert re.search(r"kana .*? app:dead .*?attempts == 3 .*?2", audit), audit
