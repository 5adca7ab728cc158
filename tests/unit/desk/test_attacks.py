"""What strangers, other sites and hostile messages try at the desk."""

from __future__ import annotations

import logging
import re

import pytest

from tasuki import App
from tasuki.desk.desk import Desk
from tasuki.desk.pages import events
from tests.unit.desk.browser import form_of, words
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.test_pages import PAGES

pytestmark = pytest.mark.anyio

TOKEN = "t" * 30
PAUSE = "/confirm?act=pause&kind=queue&id=app:mails"
XSS = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'-alert(1)-'", "javascript:alert(1)",
    "</pre><svg onload=alert(1)>", "{{7*7}}", "{% raw %}", "<!--", "]]>", "\u202eevil\u2066", "\x00\x1b[31m",
    "&lt;b&gt;", "<" * 500, "\ud7ff\ufeff", "${7*7}",
]  # fmt: skip


async def is_paused(app: App) -> bool:
    return "paused" in await app._runtime.queue("mails").info()


@pytest.mark.parametrize("path", PAGES)
async def test_without_a_token_no_page_is_shown(browse: MakeBrowser, path: str) -> None:
    answer = await browse(token=TOKEN).get(path)

    assert answer.url.path == "/login"
    assert (
        "app:mails" not in answer.text.replace("back=", "")[answer.text.index("<main") :]
        or 'name="back"' in answer.text
    )
    assert answer.headers["cache-control"] == "no-store"


async def test_the_token_opens_a_session(browse: MakeBrowser) -> None:
    browser = browse(token=TOKEN)
    login = await browser.get("/queues?q=mails")
    action, fields = form_of(login.text)

    wrong = await browser.post(action, fields | {"token": "x" * 30})
    right = await browser.post(action, fields | {"token": TOKEN})

    assert wrong.status_code == 401
    assert "The token is wrong." in words(wrong.text)
    assert right.status_code == 200
    assert str(right.url.query, "ascii") == "q=mails"
    cookie = right.history[0].headers["set-cookie"]
    assert cookie.startswith("tasuki=")
    assert "HttpOnly; SameSite=Strict; Path=/; Max-Age=43200" in cookie
    assert TOKEN not in cookie


async def test_another_token_ends_the_sessions(app: App, browse: MakeBrowser) -> None:
    browser = browse(token=TOKEN)
    action, fields = form_of((await browser.get("/")).text)
    await browser.post(action, fields | {"token": TOKEN})
    cookie = browser.client.cookies["tasuki"]

    other = browse(token="u" * 30, headers={"cookie": f"tasuki={cookie}"})

    assert (await other.get("/")).url.path == "/login"


async def test_a_flood_of_wrong_tokens_locks_out_no_session_and_not_the_right_token(
    browse: MakeBrowser, one_moment: None
) -> None:
    inside, stranger = browse(token=TOKEN), browse(token=TOKEN)
    stranger.client._transport = inside.client._transport  # of one desk, at one address
    await inside.post("/login", {"token": TOKEN})

    answers = [await stranger.client.post("/login", data={"token": "x"}) for _ in range(60)]
    pages = [(await stranger.client.get("/queues")).status_code for _ in range(120)]

    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 50
    assert "Too many wrong tokens" in answers[-1].text
    assert int(answers[-1].headers["retry-after"]) > 0
    assert pages[-1] == 429
    assert (await inside.client.get("/queues")).status_code == 200
    action, fields = await inside.form(PAUSE)
    assert (await inside.client.post(action, data=fields)).status_code == 303
    assert (await stranger.client.post("/login", data={"token": TOKEN})).status_code == 303


async def test_a_program_sends_the_token_itself(app: App, browse: MakeBrowser) -> None:
    program = browse(token=TOKEN, headers={"authorization": f"Bearer {TOKEN}"})
    stranger = browse(token=TOKEN, headers={"authorization": "Bearer nothing"})

    assert (await program.get("/queues")).status_code == 200
    await program.post("/acts/pause", {"act": "pause", "kind": "queue", "id": "app:mails"})
    assert await is_paused(app)
    assert (await stranger.get("/queues")).status_code == 401
    assert "tasuki" not in program.client.cookies


async def test_a_token_in_the_address_is_worth_nothing(browse: MakeBrowser) -> None:
    assert (await browse(token=TOKEN).get(f"/queues?token={TOKEN}")).url.path == "/login"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "localhost:x", "[::1", "10.0.0.1"]
)
async def test_another_host_is_421(browse: MakeBrowser, host: str) -> None:
    assert (await browse().get("/", headers={"host": host})).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9321", "127.0.0.1:9321", "[::1]:9321", "desk.example"])
async def test_its_own_hosts_are_answered(browse: MakeBrowser, host: str) -> None:
    browser = browse(token=TOKEN, hosts=["desk.example"], headers={"authorization": f"Bearer {TOKEN}"})

    assert (await browser.get("/", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://localhost.evil.example"},
        {"origin": "http://localhost:8000"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
        {"origin": "file://localhost"}, {"origin": "http://[::1"},
    ],
)  # fmt: skip
async def test_another_site_changes_nothing(app: App, browse: MakeBrowser, headers: dict[str, str]) -> None:
    browser = browse()
    action, fields = await browser.form(PAUSE)

    answer = await browser.post(action, fields, headers=headers)

    assert answer.status_code == 403
    assert not await is_paused(app)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_site_links_here_but_embeds_nothing(browse: MakeBrowser, site: str) -> None:
    image = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    own = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors"}
    browser = browse()

    assert (await browser.get("/metrics", headers=image)).status_code == 403
    assert (await browser.get("/queues", headers=link)).status_code == 200
    assert (await browser.get("/metrics", headers=own)).status_code == 200
    assert (await browser.get("/livez", headers=image)).status_code == 200


@pytest.mark.parametrize("token", ["", "x", None, "0" * 64])
async def test_a_forged_form_changes_nothing(app: App, browse: MakeBrowser, token: str | None) -> None:
    browser = browse()
    action, fields = await browser.form(PAUSE)
    forged = {name: value for name, value in fields.items() if name != "token"} | (
        {} if token is None else {"token": token}
    )

    answer = await browser.post(action, forged)

    assert answer.status_code == 403
    assert not await is_paused(app)


async def test_the_form_of_another_session_changes_nothing(app: App, browse: MakeBrowser) -> None:
    action, fields = await browse().form(PAUSE)
    other = browse()
    await other.get("/")

    assert (await other.post(action, fields)).status_code == 403
    assert not await is_paused(app)


async def test_a_form_without_a_session_changes_nothing(app: App, browse: MakeBrowser) -> None:
    action, fields = await browse().form(PAUSE)

    assert (await browse().post(action, fields)).status_code == 403
    assert not await is_paused(app)


async def test_an_act_is_never_a_link(app: App, browse: MakeBrowser) -> None:
    assert (await browse().get("/acts/pause?act=pause&kind=queue&id=app:mails")).status_code == 405
    assert not await is_paused(app)


@pytest.mark.parametrize("method", ["TRACE", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "FOO"])
async def test_other_methods_are_405(browse: MakeBrowser, method: str) -> None:
    answer = await browse().client.request(method, "/")

    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../desk.py", "/static/%2e%2e/desk.py", "/static/..%2fdesk.py", "/static/desk.css", "/static/", "//etc",
        "/queues/%00", "/queues/..", "/%2e%2e/%2e%2e/etc/passwd", "/queues/%ff%fe", "/static/desk.css/",
        "/" + "a" * 3000, "/queues//app:mails", "/messages/app:mails/%2e%2e",
    ],
)  # fmt: skip
async def test_tricks_with_paths_are_404(browse: MakeBrowser, path: str) -> None:
    desk = browse().desk

    status, _, _ = await ask(desk, path)

    assert status == 404


@pytest.mark.parametrize(
    "back", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "/\n/evil"]
)
async def test_the_way_back_stays_here(browse: MakeBrowser, back: str) -> None:
    browser = browse()
    action, fields = await browser.form(PAUSE)

    answer = await browser.client.post(action, data=fields | {"back": back})

    assert answer.status_code == 303
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("text", XSS)
async def test_hostile_messages_are_text(app: App, browse: MakeBrowser, text: str) -> None:
    await app.publish(
        "mails", {text: text}, {"tenant": text.replace("\x00", ""), "message_type": text.replace("\x00", "")}
    )
    [message] = await app._runtime.queue("mails").peek()
    browser = browse()

    for path in ("/queues/app:mails", f"/messages/app:mails/{message.id}"):
        page = (await browser.get(path)).text
        for bad in ("<script>alert", "<img src=x", "<svg onload", "\u202e", "\u2066", "\x1b", "\x00", ">49<"):
            assert bad not in page


async def test_a_hostile_id_is_text_too(app: App, browse: MakeBrowser) -> None:
    id = "<b>/../x?&#\"'"
    await app.publish("mails", {"to": "a"}, id=id)
    browser = browse()
    page = (await browser.get("/queues/app:mails")).text
    link = re.search(r'class="open" title="[^"]*" href="([^"]*)"', page)
    assert link is not None

    shown = await browser.get(link[1].replace("&amp;", "&"))

    assert shown.status_code == 200
    assert "<b>/" not in page + shown.text
    assert '"to": "a"' in words(shown.text)


async def test_hostile_words_of_the_address_are_text(browse: MakeBrowser) -> None:
    browser = browse()
    for path in (
        "/queues?q={}",
        "/queues?sort={}&from={}",
        "/queues/app:mails?tab={}&from={}",
        "/?lang={}&theme={}",
        PAUSE + "&back={}",
    ):
        page = (await browser.get(path.replace("{}", "%22%3E%3Cscript%3Ealert(1)%3C/script%3E"))).text
        assert "<script>alert" not in page


async def test_every_answer_has_the_headers(browse: MakeBrowser) -> None:
    browser = browse()
    for path, host in (("/", "localhost"), ("/nope", "localhost"), ("/", "evil.example"), ("/static/x", "localhost")):
        headers = (await browser.get(path, headers={"host": host})).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


async def test_one_client_cannot_ask_without_end(browse: MakeBrowser, one_moment: None) -> None:
    browser = browse()
    answers = [(await browser.client.get("/login")).status_code for _ in range(150)]

    assert 429 in answers
    assert answers[0] != 429


async def test_a_form_has_bounds(browse: MakeBrowser) -> None:
    browser = browse()
    action, fields = await browser.form(PAUSE)

    assert (await browser.post(action, fields | {"reason": "x" * 70_000})).status_code == 413
    assert (await browser.post(action, {f"f{n}": "" for n in range(101)})).status_code == 400
    assert (await browser.client.post(action, json={})).status_code == 415


async def test_a_client_has_few_event_streams(browse: MakeBrowser) -> None:
    browser = browse()
    streams = browser.desk.tools.streams
    streams["127.0.0.1"] = events.MOST_OF_ONE
    assert (await browser.client.get("/events")).status_code == 503
    del streams["127.0.0.1"]
    streams |= {f"10.0.0.{n}": events.MOST_OF_ONE for n in range(events.MOST // events.MOST_OF_ONE)}

    answer = await browser.client.get("/events")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"


async def test_a_mistake_of_ours_shows_an_id_and_no_trace(
    browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    browser = browse()

    async def broken() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(browser.desk.tools.sampler, "latest", broken)
    with caplog.at_level(logging.ERROR, "tasuki.desk"):
        answer = await browser.get("/")

    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text
    assert "secret detail" in caplog.text


async def ask(desk: Desk, path: str) -> tuple[int, dict[str, str], bytes]:
    """One request with exactly this path, which a client library would tidy up."""
    sent: list[dict[str, object]] = []
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("localhost", 80),
        "http_version": "1.1",
    }  # fmt: skip

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    await desk(scope, receive, send)
    status = sent[0]["status"]
    assert isinstance(status, int)
    return status, {}, b""
