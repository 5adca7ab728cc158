"""The page that changes a dead letter: a problem stands at its field, and a valid message is sent."""

from __future__ import annotations

import asyncio
import html
import re
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import UnsupportedError
from tasuki.message import HeaderValue
from tests.unit.desk.browser import Browser, form_of, words
from tests.unit.desk.conftest import MakeBrowser

pytestmark = pytest.mark.anyio

PAGE = "/messages/app:dead/m/edit"


async def bury(app: App, body: bytes = b'{"to":"a","n":1.10}', **headers: HeaderValue) -> None:
    own: dict[str, HeaderValue] = {"x_original_queue": "app:mails", "x_dead_letter_reason": "max_attempts"}
    own |= {"x_last_error": "no", "attempts": 1, "content_type": "json/plain", "tenant": "acme", **headers}
    assert not any(await app._runtime.queue("dead").forward([Outgoing("m", body, own)]))


def text_of(page: str) -> str:
    found = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)
    assert found, page
    return html.unescape(found[1])


async def sent(browser: Browser, **fields: str) -> Any:
    """The answer to the form of the page, with these fields; the body as the page shows it."""
    page = (await browser.get(PAGE)).text
    action, values = form_of(page)
    shown = {"body": text_of(page)} if "<textarea" in page else {}
    return await browser.post(action, {**values, **shown, "keep": "", "do": "send", **fields})


async def ids(app: App, queue: str) -> list[str]:
    return [message.id for message in await app._runtime.queue(queue).peek()]


async def test_the_changed_message_is_sent_and_the_letter_is_gone(app: App, browse: MakeBrowser) -> None:
    await bury(app)
    browser = browse(actor="kana")
    assert "Edit and retry" in await browser.text("/messages/app:dead/m")
    page = (await browser.get(PAGE)).text
    assert text_of(page) == '{\n  "to": "a",\n  "n": 1.10\n}'
    done = await sent(browser, body='{\r\n "to": "b",\r\n "n": 1.20\r\n}', h1="", nn0="new", nv0="7")
    assert re.search(r"Message m went to app:mails as \S+\.", words(done.text))
    assert await ids(app, "dead") == []
    [message] = await app._runtime.queue("mails").peek()
    assert message.body == b'{"to":"b","n":1.20}'
    assert (message.headers["x_edited_by"], message.headers["x_edited_from"]) == ("kana", "m")
    assert message.headers["new"] == 7
    assert "tenant" not in message.headers
    assert "edit" in await browser.text("/audit")


async def test_a_letter_is_edited_where_no_message_can_be_shown(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("peek", "find", "transfer"))

    async def refuse(*_: object) -> None:
        raise UnsupportedError("no peek here")

    monkeypatch.setattr(MemoryDriver, "peek", refuse)
    await bury(app)
    await sent(browse(actor="kana"), body='{"to":"b"}')
    assert (await app._runtime.queue("mails").depth()).ready == 1
    assert (await app._runtime.queue("dead").depth()).ready == 0


async def test_a_check_alone_sends_nothing(app: App, browse: MakeBrowser) -> None:
    await bury(app)
    answer = await sent(browse(), do="check", nn0="reply_to", nv0='"app:images"')
    assert answer.status_code == 200
    assert "The message is valid. Nothing was sent yet." in words(answer.text)
    assert "reply_to: the reply of its handler goes to this queue" in words(answer.text)
    assert 'value="reply_to"' in answer.text
    assert await ids(app, "dead") == ["m"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"body": '{"to":\n 1,}'}, "line 2: it is no JSON"),
        ({"body": " "}, "it is empty"),
        ({"body": "[1]"}, "Expected `object`, got `array`"),
        ({"h1": "acme"}, "put a text into quotes"),
        ({"nn0": "X_Cause", "nv0": "1"}, "only Tasuki sets it"),
        ({"nn1": "tenant", "nv1": "1"}, "it is there twice"),
        ({"nn2": "a\nb", "nv2": "1"}, "printable characters"),
        ({"nn2": "a\u202eb", "nv2": "1"}, "printable characters"),
        ({"body": '"' + "[" * 5000 + '"'}, "Expected `object`, got `str`"),
        ({"body": "[" * 10_000}, "it is nested too deep"),
    ],
)
async def test_what_is_wrong_is_said_at_its_field_and_nothing_moves(
    app: App, browse: MakeBrowser, fields: dict[str, str], says: str
) -> None:
    await bury(app)
    answer = await sent(browse(), **fields)
    assert answer.status_code == 400
    assert says in words(answer.text)
    assert 'role="alert"' in answer.text
    assert await ids(app, "dead") == ["m"]
    assert await ids(app, "mails") == []
    if "body" in fields:
        assert text_of(answer.text).strip() == fields["body"].strip()


@pytest.mark.parametrize(
    ("body", "headers", "why"),
    [
        (b"\xff", {}, "it is not shown as text"),
        (b'{"password": "hunter2", "password": ""}', {}, "it has secrets"),
        (b'"' + b"a" * 300_000 + b'"', {}, "too long for this page"),
        (b'{"a": "\x01"}', {}, "control characters"),
        (b"\x81\xa1a\xc4\x01x", {"content_type": "application/msgpack"}, "it is not shown as text"),
    ],
)
async def test_a_body_that_a_page_cannot_change_stays(
    app: App, browse: MakeBrowser, body: bytes, headers: dict[str, HeaderValue], why: str
) -> None:
    app.queue("free")
    await bury(app, body, **headers)
    browser = browse()
    page = (await browser.get(PAGE)).text
    assert why in words(page)
    assert "<textarea" not in page
    assert "hunter2" not in page


async def test_secret_headers_are_neither_shown_nor_changed(app: App, browse: MakeBrowser) -> None:
    await bury(app, api_token="hunter2")
    browser = browse()
    page = (await browser.get(PAGE)).text
    assert "hunter2" not in page
    done = await sent(browser, keep="1")
    assert done.status_code == 200, done.text
    [message] = await app._runtime.queue("mails").peek()
    assert message.headers["api_token"] == "hunter2"
    assert await ids(app, "dead") == ["m"]


async def test_text_that_changes_its_direction_is_said_to(app: App, browse: MakeBrowser) -> None:
    await bury(app, '{"to":"\u202eabc"}'.encode())
    browser = browse()
    assert "characters that change its direction" in await browser.text(PAGE)
    assert (await sent(browser)).status_code == 200
    [message] = await app._runtime.queue("mails").peek()
    assert message.body == '{"to":"\u202eabc"}'.encode()


async def test_only_with_the_form_of_the_session_and_only_with_the_right(app: App, browse: MakeBrowser) -> None:
    await bury(app)
    browser = browse()
    action, values = await browser.form(PAGE)
    assert (await browser.post(action, {**values, "token": "x", "do": "send"})).status_code == 403
    assert (await browser.post(action, {**values, "body": "1" * 9_000_000})).status_code == 413
    assert (await browser.get("/messages/app:dead/none/edit")).status_code == 404
    assert (await browser.get("/messages/app:none/m/edit")).status_code == 404
    assert await ids(app, "dead") == ["m"]


async def test_in_japanese(app: App, browse: MakeBrowser) -> None:
    await bury(app)
    assert "編集して再投入" in await browse().text(PAGE + "?lang=ja")


async def test_a_letter_from_elsewhere_goes_where_the_form_says(app: App, browse: MakeBrowser) -> None:
    await bury(app, b"1", x_original_queue="gone:queue")
    browser = browse()
    answer = await browser.get(PAGE)
    assert answer.status_code == 409
    assert "say where it is to go" in words(answer.text)
    answer = await browser.get(PAGE + "?to=app:images")
    action, values = form_of(answer.text)
    own = {"keep": "", "body": "{}", "to": "app:images", "do": "send", "nn0": "message_type", "nv0": '"hourly"'}
    done = await browser.post(action, {**values, **own})
    assert done.status_code == 200
    assert len(await ids(app, "images")) == 1


async def test_another_queue_needs_the_right_there_too(app: App, browse: MakeBrowser) -> None:
    condition: Any = {"field": "actor.id", "operator": "exists"}
    for name, resources, actions in (
        ("own", "app:dead", ["queue.admin.edit", "queue.admin.peek"]),
        ("other", "app:mails", ["queue.admin.peek"]),
    ):
        policy: Any = {"actions": actions, "resources": resources, "effect": "allow", "conditions": [condition]}
        app.entry(name, "security.policy", policy=policy)
    await app.close()
    async with app:
        await bury(app)
        browser = browse(actor="kana")
        page = (await browser.get(PAGE)).text
        assert "<option selected>app:mails</option>" in page
        assert "app:images" not in page
        elsewhere = {"to": "app:images", "body": "{}", "nn1": "message_type", "nv1": '"hourly"'}
        for fields in (elsewhere, {"nn0": "reply_to", "nv0": '"app:images"'}):
            assert (await sent(browser, **fields)).status_code == 403
        assert await app._runtime.live().queue("app:dead").driver.peek("dead", 5) != []
        assert (await sent(browser)).status_code == 200


async def test_after_an_edit_the_page_says_what_became_of_it(app: App, browse: MakeBrowser) -> None:
    await bury(app)
    browser = browse(actor="kana")
    page = await sent(browser, body='{"to": "b"}')
    assert page.status_code == 200
    assert "An edit of letter m of app:dead, sent" in words(page.text)
    assert "Undo the edit…" in words(page.text)

    await app._runtime.queue("mails").purge()  # as if it had been handled
    gone = await browser.get(str(page.url))
    assert gone.status_code == 200
    assert "It does not wait any more, and no handler has it now" in words(gone.text)
    assert "no such message" not in gone.text
    assert "Undo the edit" not in words(gone.text)
    assert (await browser.get("/messages/app:mails/another")).status_code == 404


async def test_the_page_of_an_edited_letter_leads_to_its_new_message(app: App, browse: MakeBrowser) -> None:
    await bury(app)
    browser = browse(actor="kana")
    new = await sent(browser, body='{"to": "b"}')
    page = await browser.get("/messages/app:dead/m")
    assert (page.status_code, page.url) == (200, new.url)
    assert "An edit of letter m of app:dead, sent" in words(page.text)

    await app._runtime.queue("mails").purge()
    assert (await browser.get("/messages/app:dead/m")).status_code == 200
    assert (await browser.get("/messages/app:dead/another")).status_code == 404


async def test_an_edit_that_fails_again_leads_to_its_letter(app: App, browse: MakeBrowser) -> None:
    await bury(app)
    browser = browse()
    page = await sent(browser, body='{"bad": "1"}')
    [message] = await app._runtime.queue("mails").peek()
    assert app._runtime.assembly is not None
    consumer = app._runtime.assembly.consumers["app:sender"]
    await consumer.start()
    try:
        while not await ids(app, "dead"):
            await asyncio.sleep(0.01)
    finally:
        await consumer.stop(1)
    again = await browser.get(str(page.url))
    assert again.status_code == 200
    assert f'href="/messages/app:dead/{message.id}"' in again.text
    assert "cannot send 1" in words((await browser.get(f"/messages/app:dead/{message.id}")).text)


async def test_an_edit_is_undone_at_the_desk(app: App, browse: MakeBrowser) -> None:
    await bury(app)
    browser = browse(actor="kana")
    page = await sent(browser, body='{"to": "b"}')
    link = re.search(r'href="([^"]*act=undo_edit[^"]*)"', page.text)
    assert link
    back = await browser.act(html.unescape(link[1]))
    assert "Letter m is back in app:dead." in words(back.text)
    assert (await ids(app, "dead"), await ids(app, "mails")) == (["m"], [])
    assert (await app._runtime.queue("dead").peek())[0].body == b'{"to":"a","n":1.10}'
    assert "An edit of letter" not in words(await browser.text("/messages/app:dead/m"))
    assert "編集の取り消し" in await browser.text("/audit?lang=ja")


async def test_a_copy_is_no_edit_to_be_undone(app: App, browse: MakeBrowser) -> None:
    await bury(app)
    page = await sent(browse(), body='{"to": "b"}', keep="1")
    assert "An edit of letter m of app:dead" in words(page.text)
    assert "Undo the edit" not in words(page.text)
    assert await ids(app, "dead") == ["m"]
    await app._runtime.queue("dead").purge()
    assert "An edit of letter" not in words((await browse().get("/messages/app:dead/m")).text)


async def test_a_secret_stays_what_it_is_unless_it_is_changed(app: App, browse: MakeBrowser) -> None:
    await bury(app, b'{"to": "a", "n": 1.10, "password": "hunter2"}')
    browser = browse(actor="kana")
    page = (await browser.get(PAGE)).text
    assert "hunter2" not in page
    assert text_of(page) == '{\n  "to": "a",\n  "n": 1.10,\n  "password": "***"\n}'
    assert "*** stands for a secret, which stays as it is" in words(page)
    wrong = await sent(browser, body='{"to": "***", "password": "***"}')
    assert (wrong.status_code, await ids(app, "dead")) == (400, ["m"])
    assert "stands for a secret, and the letter has none here" in words(wrong.text)

    done = await sent(browser, body='{"to": "b", "n": 1.10, "password": "***"}')
    assert done.status_code == 200
    [message] = await app._runtime.queue("mails").peek()
    assert message.body == b'{"to":"b","n":1.10,"password":"hunter2"}'
    assert "hunter2" not in done.text
