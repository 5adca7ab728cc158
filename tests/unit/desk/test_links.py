"""The link that a desk with its own token prints: it logs in, and the token goes no further."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from tasuki import App
from tasuki.desk.desk import Desk
from tasuki.desk.security.access import Access
from tasuki.desk.site import Site
from tests.unit.desk.browser import Browser
from tests.unit.desk.conftest import MakeBrowser

pytestmark = pytest.mark.anyio

TOKEN = "k" * 43
LINK = f"/?token={TOKEN}"


@pytest.fixture
async def browser(app: App) -> AsyncIterator[Browser]:
    desk: Desk = Desk(Site(app, app, opens=False), Access(token=TOKEN, actor="kana", takes_links=True))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client:
        yield Browser(client, desk)


async def test_the_link_logs_in_and_leads_to_the_first_page_without_the_token(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tasuki.desk"):
        answer = await browser.client.get(LINK)

    assert (answer.status_code, answer.headers["location"], answer.text) == (303, "/", "")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
    assert TOKEN not in str(answer.headers.multi_items())
    page = await browser.get("/queues")
    assert (page.status_code, page.url.path, TOKEN in page.text) == (200, "/queues", False)
    assert caplog.messages == ["desk: kana logged in from 127.0.0.1"]


async def test_a_link_on_a_page_of_another_site_opens_the_desk_by_a_navigation_of_its_own(browser: Browser) -> None:
    """A browser sends no strict cookie to where a redirect of another site's request leads."""
    linked = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    answer = await browser.client.get(LINK, headers=linked)
    assert (answer.status_code, answer.text, answer.headers["refresh"]) == (200, "", "0; url=/")
    assert (answer.headers["referrer-policy"], "location" in answer.headers) == ("no-referrer", False)
    assert (await browser.get("/queues")).url.path == "/queues"


async def test_each_link_begins_a_session_of_its_own(browser: Browser) -> None:
    ids = set()
    for _ in range(2):
        await browser.client.get(LINK, headers={"cookie": "tasuki=chosen-by-another"})
        ids.add(browser.desk.tools.sessions.read(browser.client.cookies["tasuki"]))
    assert len(ids) == 2
    assert None not in ids


async def test_a_wrong_link_opens_nothing_and_is_logged(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    answer = await browser.client.get("/?token=wrong")
    assert (answer.status_code, answer.headers["location"], "set-cookie" in answer.headers) == (303, "/", False)
    door = await browser.get("/queues")
    assert (door.url.path, "printed a link with the token" in door.text) == ("/login", True)
    assert caplog.messages == ["desk: a wrong token from 127.0.0.1"]
    statuses = [(await browser.client.get("/?token=wrong")).status_code for _ in range(15)]
    assert statuses[-1] == 429
    assert (await browser.client.get(LINK)).headers["set-cookie"]


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        (LINK, "GET", {"host": "evil.example"}, 421),
        (LINK, "GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        (LINK, "HEAD", {}, 303),
        (f"/queues?token={TOKEN}", "GET", {}, 303),
        (f"/login?token={TOKEN}", "GET", {}, 200),
        (f"/metrics?token={TOKEN}", "GET", {}, 401),
        (f"/api/v1/queues?token={TOKEN}", "GET", {}, 401),
        (LINK, "POST", {}, 401),
    ],
)
async def test_an_address_with_the_token_is_a_link_to_the_first_page_alone(
    browser: Browser, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    answer = await browser.client.request(method, path, headers=headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (status, False)


async def test_a_given_token_in_an_address_is_worth_nothing(browse: MakeBrowser) -> None:
    answer = await browse(token=TOKEN).client.get(LINK)
    assert "set-cookie" not in answer.headers
    assert answer.headers["location"].startswith("/login")
    assert "printed a link" not in (await browse(token=TOKEN).get("/")).text


async def test_log_ins_wrong_tokens_and_log_outs_are_logged_with_their_client(
    browse: MakeBrowser, caplog: pytest.LogCaptureFixture
) -> None:
    browser = browse(token=TOKEN, actor="kana", proxies=["127.0.0.1"], headers={"x-forwarded-for": "203.0.113.7"})
    with caplog.at_level(logging.INFO, "tasuki.desk"):
        await browser.client.post("/login", data={"token": "wrong"})
        await browser.client.get("/api/v1/queues", headers={"authorization": "Bearer wrong"})
        await browser.client.post("/login", data={"token": TOKEN})
        session = browser.desk.tools.sessions.read(browser.client.cookies["tasuki"])
        form = {"token": browser.desk.tools.sessions.form_token(str(session))}
        await browser.client.post("/logout", data=form)

    assert caplog.messages == [
        "desk: a wrong token from 203.0.113.7",
        "desk: a wrong token from 203.0.113.7",
        "desk: kana logged in from 203.0.113.7",
        "desk: kana logged out from 203.0.113.7",
    ]
    assert {vars(record)["client"] for record in caplog.records} == {"203.0.113.7"}
    assert "wrong" not in caplog.text.replace("a wrong token", "")


async def test_a_session_by_way_of_a_proxy_is_logged_once_and_scrapes_begin_none(
    browse: MakeBrowser, caplog: pytest.LogCaptureFixture
) -> None:
    browser = browse({"x-user": "kana"}, actor_header="x-user", proxies=["127.0.0.1"])
    with caplog.at_level(logging.INFO, "tasuki.desk"):
        for path in ("/metrics", "/metrics", "/api/v1/queues", "/queues", "/queues"):
            assert (await browser.client.get(path)).status_code == 200
    assert caplog.messages == ["desk: a session of kana from 127.0.0.1 begins"]


async def test_a_flood_of_wrong_tokens_does_not_flood_the_log(
    browse: MakeBrowser, one_moment: None, caplog: pytest.LogCaptureFixture
) -> None:
    browser = browse(token=TOKEN, proxies=["127.0.0.1"])
    for number in range(300):  # of many addresses
        headers = {"authorization": "Bearer wrong", "x-forwarded-for": f"10.0.{number // 250}.{number % 250}"}
        assert (await browser.client.get("/api/v1/queues", headers=headers)).status_code == 401
    assert len(caplog.messages) == 60


@pytest.mark.parametrize(
    ("proxies", "said", "is_secure"),
    [
        (["127.0.0.1"], [("x-forwarded-proto", "https")], True),
        (["127.0.0.1"], [("x-forwarded-proto", "http"), ("x-forwarded-proto", "https")], True),
        (["127.0.0.1"], [("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")], False),
        (["127.0.0.1"], [("x-forwarded-proto", "https, http")], False),
        (["127.0.0.1"], [], False),
        (["10.0.0.1"], [("x-forwarded-proto", "https")], False),
        ([], [("x-forwarded-proto", "https")], False),
    ],
)
async def test_behind_a_proxy_with_tls_the_cookie_of_a_token_is_secure(
    browse: MakeBrowser, proxies: list[str], said: list[tuple[str, str]], is_secure: bool
) -> None:
    browser = browse(token=TOKEN, proxies=proxies)
    answer = await browser.client.post("/login", data={"token": TOKEN}, headers=said)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-tasuki=" if is_secure else "tasuki=")
    assert ("; Secure" in cookie) == is_secure
    name, _, value = cookie.partition(";")[0].partition("=")
    page = await browser.client.get("/queues", headers=[*said, ("cookie", f"{name}={value}")])
    assert page.status_code == 200


async def test_slow_forms_at_the_door_make_way_for_others(browse: MakeBrowser) -> None:
    """No rate bounds the posts to the door, so that the right token always passes: their number at a time does."""
    browser = browse(token=TOKEN)
    begun = 0

    async def slow() -> AsyncIterator[bytes]:
        nonlocal begun
        begun += 1
        yield b"token="
        await asyncio.Event().wait()

    form = {"content-type": "application/x-www-form-urlencoded"}
    waiting = [asyncio.create_task(browser.client.post("/login", content=slow(), headers=form)) for _ in range(100)]
    while begun < 100:
        await asyncio.sleep(0)
    done, held = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    while len(held) > 32:
        more, held = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert {task.result().status_code for task in done} == {408}
    assert (await browser.client.post("/login", data={"token": TOKEN})).status_code == 303
    for task in held:
        task.cancel()
    await asyncio.wait(held)
