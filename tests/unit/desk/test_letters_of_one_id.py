"""Two letters of one id at the desk: each has its row, its page and its acts."""

from __future__ import annotations

import html
import re

import pytest

from tasuki import App
from tasuki.queues.dead.letter import name_of
from tests.unit.desk.browser import form_of
from tests.unit.desk.conftest import HOURLY, MakeBrowser
from tests.unit.desk.letters import bury
from tests.unit.desk.test_api import Program

pytestmark = pytest.mark.anyio


@pytest.fixture
async def names(app: App) -> list[str]:
    """Of two letters of the id ``twin``, beside another one."""
    await bury(app, "twin", body='{"n":1}')
    await bury(app, "alone")
    await bury(app, "twin", body='{"n":2}')
    found = await app._runtime.queue("dead").find(["twin"])
    assert [each.body for each in found] == [b'{"n":1}', b'{"n":2}']
    return [name_of(each) for each in found]


async def bodies(app: App, queue: str) -> list[bytes]:
    return [each.body for each in await app._runtime.queue(queue).peek(100)]


async def test_the_list_has_both_and_their_pages_too(app: App, browse: MakeBrowser, names: list[str]) -> None:
    browser = browse()
    page = (await browser.get("/dead/app:dead")).text
    rows = re.findall(r'<input[^>]* name="ids" value="([^"]*)"', page)
    assert sorted(rows) == sorted([*names, "alone"])
    links = [html.unescape(link) for link in re.findall(r'href="(/messages/app:dead/twin[^"]*)"', page)]
    assert len(links) == 2
    seen = [await browser.text(link) for link in links]
    assert ['"n": 1' in text for text in seen] == ["twin~" in link and names[0] in link for link in links]
    assert ['"n": 2' in text for text in seen] == [names[1] in link for link in links]


async def test_the_letter_on_the_page_goes_back(app: App, browse: MakeBrowser, names: list[str]) -> None:
    browser = browse()
    page = (await browser.get(f"/messages/app:dead/{names[1]}")).text
    [ask] = re.findall(r'href="(/confirm\?act=redrive[^"]*)"', page)
    await browser.act(html.unescape(ask))
    assert (await bodies(app, "mails"), await bodies(app, "dead")) == ([b'{"n":2}'], [b'{"n":1}', b"{}"])
    assert (await browser.get(f"/messages/app:dead/{names[1]}")).status_code == 404


async def test_a_selected_one_is_deleted_alone(app: App, browse: MakeBrowser, names: list[str]) -> None:
    browser = browse()
    _, fields = form_of((await browser.get("/dead/app:dead")).text)
    asked = await browser.post("/dead/app:dead/confirm", {**fields, "act": "remove", "ids": names[1]})
    assert asked.status_code == 200, asked.text
    action, values = form_of(asked.text)
    begun = await browser.post(action, {**values, "ids": names[1]})
    [batch] = await app.dead.batches.list()
    ended = await app.dead.batches.wait(batch.id)
    assert (begun.status_code, ended.state, ended.moved) == (200, "done", 1)
    assert await bodies(app, "dead") == [b'{"n":1}', b"{}"]


async def test_a_form_changes_the_letter_that_it_has_shown(app: App, browse: MakeBrowser, names: list[str]) -> None:
    """The other one is not changed in its place when it has left meanwhile."""
    browser = browse()
    forms = [await browser.form(f"/messages/app:dead/{name}/edit") for name in ("twin", names[1])]
    assert await app.dead.redrive("dead", ids=[names[0]]) == 1
    sent = {"body": '{"n":3}', "keep": "", "do": "send"}
    gone = await browser.post(forms[0][0], {**forms[0][1], **sent})
    assert gone.status_code == 404, gone.text
    done = await browser.post(forms[1][0], {**forms[1][1], **sent})
    assert done.status_code == 200, done.text
    assert (await bodies(app, "mails"), await bodies(app, "dead")) == ([b'{"n":1}', b'{"n":3}'], [b"{}"])


async def test_programs_name_one_too(app: App, browse: MakeBrowser, names: list[str]) -> None:
    program = Program(browse(actor="kana").client)
    items = (await program.get("/dead/app:dead"))["items"]
    assert sorted((each["id"], each["name"]) for each in items) == sorted(
        [("alone", "alone"), *(("twin", name) for name in names)]
    )
    shown = await program.get(f"/messages/app:dead/{names[1]}")
    assert (shown["id"], shown["body"]["value"]) == ("twin", {"n": 2})
    await program.post(f"/messages/app:dead/{names[1]}/retry")
    assert (await bodies(app, "mails"), await bodies(app, "dead")) == ([b'{"n":2}'], [b'{"n":1}', b"{}"])


async def test_each_is_put_off_with_its_own_content(app: App, browse: MakeBrowser) -> None:
    for number in (1, 2):
        await app.publish("images", {"n": number}, HOURLY, id="twin", delay="1h")
    program = Program(browse(actor="kana").client)
    await program.post("/messages/app:images/twin/reschedule", **{"in": "2h"})
    assert sorted(await bodies(app, "images")) == [b'{"n":1}', b'{"n":2}']


async def test_the_page_of_one_removes_that_one(app: App, browse: MakeBrowser, names: list[str]) -> None:
    browser = browse()
    page = (await browser.get(f"/messages/app:dead/{names[1]}")).text
    [form] = re.findall(r'<form method="post" class="bar-acts".*?</form>', page, re.DOTALL)
    fields = form_of(form.replace(' class="bar-acts"', ""))[1]
    asked = await browser.post("/dead/app:dead/confirm", {**fields, "act": "remove"})
    action, values = form_of(asked.text)
    await browser.post(action, values)
    [batch] = await app.dead.batches.list()
    await app.dead.batches.wait(batch.id)
    assert await bodies(app, "dead") == [b'{"n":1}', b"{}"]


async def test_the_row_of_one_among_the_messages_of_its_queue_is_about_that_one(
    app: App, browse: MakeBrowser, names: list[str]
) -> None:
    browser = browse()
    page = html.unescape((await browser.get("/queues/app:dead")).text)
    links = re.findall(r'href="(/messages/app:dead/twin[^"]*)"', page)
    assert [name for name in names for link in links if name in link] == names
    asks = [ask for ask in re.findall(r'href="(/confirm\?act=redrive[^"]*)"', page) if "twin" in ask]
    await browser.act(asks[1])
    assert (await bodies(app, "mails"), await bodies(app, "dead")) == ([b'{"n":2}'], [b'{"n":1}', b"{}"])


async def test_an_id_that_looks_like_a_name_is_no_other_message(app: App, browse: MakeBrowser) -> None:
    await app.publish("images", {"n": 1}, HOURLY, id="order")
    browser = browse()
    page = await browser.get("/messages/app:images/order~20261201")
    assert (page.status_code, re.findall(r"<h1><code[^>]*>(.*?)</code>", page.text)) == (404, ["order~20261201"])
    await app.publish("images", {"n": 2}, HOURLY, id="order~20261201")
    program = Program(browse(actor="kana").client)
    shown = await program.get("/messages/app:images/order~20261201")
    assert (shown["id"], shown["body"]["value"]) == ("order~20261201", {"n": 2})
