"""The door of the desk: a session that began with the token can be ended, and by its viewer alone."""

from __future__ import annotations

import re

import pytest

from tests.unit.desk.browser import Browser
from tests.unit.desk.conftest import MakeBrowser

pytestmark = pytest.mark.anyio

TOKEN = "t" * 30


async def enter(browse: MakeBrowser) -> Browser:
    browser = browse(token=TOKEN)
    action, fields = await browser.form("/queues")
    assert (await browser.post(action, fields | {"token": TOKEN})).status_code == 200
    return browser


def leave(page: str) -> tuple[str, dict[str, str]]:
    """Address and fields of the button that ends the session."""
    found = re.search(
        r'<form class="out" method="post" action="([^"]*)"><input type="hidden" name="token" value="(\w+)">', page
    )
    assert found
    return found[1], {"token": found[2]}


async def test_logging_out_ends_the_session_and_every_copy_of_its_cookie(browse: MakeBrowser) -> None:
    browser = await enter(browse)
    [(name, cookie)] = browser.client.cookies.items()
    action, fields = leave((await browser.get("/")).text)

    after = await browser.post(action, fields)

    assert after.url.path == "/login"
    assert "Log out" not in after.text
    browser.client.cookies.clear()
    copied = await browser.client.get("/queues", headers={"cookie": f"{name}={cookie}"})
    assert copied.status_code == 303
    assert copied.headers["location"].startswith("/login")


async def test_a_new_session_begins_after_the_end_of_another(browse: MakeBrowser) -> None:
    browser = await enter(browse)
    action, fields = leave((await browser.get("/")).text)
    page = await browser.post(action, fields)
    again = await browser.post("/login", {"token": TOKEN, "back": "/queues"})

    assert page.status_code == 200
    assert (await browser.post(action, fields)).status_code == 403  # the form of the session that has ended
    assert again.url.path == "/queues"


async def test_no_other_form_and_no_other_site_ends_it(browse: MakeBrowser) -> None:
    browser = await enter(browse)
    action, fields = leave((await browser.get("/")).text)

    forged = await browser.post(action, {"token": "x"})
    elsewhere = await browser.post(action, fields, headers={"origin": "http://evil.example"})
    link = await browser.get("/logout")

    assert [forged.status_code, elsewhere.status_code, link.status_code] == [403, 403, 405]
    assert (await browser.get("/queues")).url.path == "/queues"


async def test_without_a_session_it_leads_to_the_door(browse: MakeBrowser) -> None:
    answer = await browse(token=TOKEN).post("/logout", {})
    assert answer.url.path == "/login"


async def test_where_sessions_begin_by_themselves_there_is_no_button(browse: MakeBrowser) -> None:
    plain = browse()
    assert "logout" not in (await plain.get("/")).text
    assert (await plain.post("/logout", {"token": "x"})).status_code == 403
    proxied = browse({"x-user": "kana"}, token=TOKEN, actor_header="x-user", proxies=["127.0.0.1"])
    assert "logout" not in (await proxied.get("/")).text
