"""What strangers, other sites and hostile programs try at the API."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest

from tasuki import App
from tasuki.app.state.auditing import acts_of
from tasuki.desk.api import decoding
from tasuki.desk.api.operations.table import OPERATIONS
from tasuki.desk.api.problems import TYPE
from tests.support.desk_project import mails, policy
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.test_attacks import TOKEN, ask, is_paused

pytestmark = pytest.mark.anyio

V1 = "/api/v1"
PAUSE = f"{V1}/queues/app:mails/pause"
JSON = {"content-type": "application/json"}


def is_problem(answer: httpx.Response, status: int) -> bool:
    """Whether it is refused so, as a program reads it."""
    found = answer.json()
    assert answer.headers["content-type"] == TYPE, answer.text
    assert found["status"] == answer.status_code
    return answer.status_code == status and "Traceback" not in answer.text


def paths() -> list[tuple[str, str]]:
    names = {
        "queue": "app:mails",
        "id": "m",
        "consumer": "app:sender",
        "schedule": "app:hourly",
        "worker": "h:1",
        "batch": "b",
    }
    return [(each.method, V1 + "/" + "/".join(each.path).format_map(names)) for each in OPERATIONS]


@pytest.mark.parametrize(("method", "path"), [*paths(), ("GET", "/openapi.json"), ("GET", f"{V1}/nothing")])
async def test_without_the_token_nothing_is_told_or_done(app: App, browse: MakeBrowser, method: str, path: str) -> None:
    client = browse(token=TOKEN).client

    for headers in (
        {},
        {"authorization": "Bearer nothing"},
        {"authorization": f"Basic {TOKEN}"},
        {"cookie": "tasuki=x.9999999999.y"},
    ):
        answer = await client.request(method, f"{path}?token={TOKEN}", headers=headers | JSON)
        assert is_problem(answer, 401), headers
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "app:mails" not in answer.text
    assert not await is_paused(app)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.nip.io", "", "localhost:x"])
async def test_another_host_is_421(browse: MakeBrowser, host: str) -> None:
    assert is_problem(await browse().client.get(f"{V1}/queues", headers={"host": host}), 421)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:8000"},
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
    ],
)  # fmt: skip
async def test_another_site_changes_nothing(app: App, browse: MakeBrowser, headers: dict[str, str]) -> None:
    client = browse().client

    assert is_problem(await client.post(PAUSE, json={}, headers=headers), 403)
    assert is_problem(await client.request("DELETE", f"{V1}/queues/app:mails", headers=headers | JSON), 403)
    assert not await is_paused(app)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json"]
)
async def test_a_form_changes_nothing(app: App, browse: MakeBrowser, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}

    answer = await browse().client.post(PAUSE, content=b'{"reason": "x"}', headers=headers)

    assert is_problem(answer, 415)
    assert not await is_paused(app)


async def test_nobody_gets_leave_to_read_from_another_site(browse: MakeBrowser) -> None:
    client = browse().client
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}

    assert is_problem(await client.options(PAUSE, headers=asked), 405)
    answer = await client.get(f"{V1}/queues", headers={"origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("method", ["TRACE", "PUT", "PATCH", "OPTIONS", "CONNECT", "FOO"])
async def test_other_methods_are_405(browse: MakeBrowser, method: str) -> None:
    assert is_problem(await browse().client.request(method, f"{V1}/queues"), 405)


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/"), ("DELETE", "/queues/app:mails"), ("POST", f"{V1}/queues"), ("DELETE", PAUSE)]
)
async def test_a_method_of_another_path_is_405(app: App, browse: MakeBrowser, method: str, path: str) -> None:
    answer = await browse().client.request(method, path, headers=JSON)

    assert answer.status_code == 405
    assert answer.headers["allow"]
    assert (await app._runtime.queue("mails").depth()).ready == 0


async def test_a_header_does_not_change_the_method(app: App, browse: MakeBrowser) -> None:
    headers = {"x-http-method-override": "DELETE", "x-http-method": "POST"}

    assert (await browse().client.get(PAUSE, headers=headers)).status_code == 405
    assert not await is_paused(app)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/queues/../audit", "/api/v1/queues/%2e%2e", "/api/v1/queues/%00", "/api/v1/queues/%ff%fe",
        "/api/v1//queues", "/api/v1/queues/", "/api/v1/" + "a" * 3000, "/api/v2/queues", "/api/v1", "/api/",
        "/api/v1/x/y/z/u", "/api/v1/queues/app:mails%2fpause", "/api/v1/Queues",
    ],
)  # fmt: skip
async def test_tricks_with_paths_are_404(browse: MakeBrowser, path: str) -> None:
    status, _, _ = await ask(browse().desk, path)

    assert status == 404


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"1", b"null", b"{", b"{}{}", b'{"reason": 1}', b'{"reason": "a", "reason": "b"}', b'{"x": 1}',
        b'{"for": "' + b"9" * 5000 + b'"}', b"[" * 50_000, b'{"reason": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"reason": "\xff"}', b'{"reason": "\\ud800"}', b"{\x00}", b"NaN", b'{"reason": NaN}', b"\xef\xbb\xbf{",
    ],
)  # fmt: skip
async def test_bodies_that_are_none(app: App, browse: MakeBrowser, content: bytes) -> None:
    answer = await browse().client.post(PAUSE, content=content, headers=JSON)

    if content:
        assert is_problem(answer, 400), content[:50]
        assert not await is_paused(app)
    else:
        assert answer.status_code == 200  # an empty body is an empty object


@pytest.mark.parametrize(
    "number", ["1" + "0" * 5000, "-1", "1e400", "99999999999999999999", "1.5", '"1"', "true", "-" + "9" * 4300]
)
async def test_numbers_beyond_all_bounds(browse: MakeBrowser, number: str) -> None:
    client = browse().client
    for path, field in (
        (f"{V1}/consumers/app:sender/scale", "concurrency"),
        (f"{V1}/queues/app:mails/purge", "at_most"),
    ):
        answer = await client.post(path, content=b'{"%b": %b}' % (field.encode(), number.encode()), headers=JSON)
        assert is_problem(answer, 400)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=201", "limit=-1", "limit=x", "limit=1&limit=2", "limit=" + "9" * 5000, "cursor=!", "x=1",
        "limit=%ff", "&".join(f"a{n}=1" for n in range(50)), "cursor=" + "A" * 999, "limit=1;drop", "limit=0x1",
    ],
)  # fmt: skip
async def test_queries_that_are_none(browse: MakeBrowser, query: str) -> None:
    assert is_problem(await browse().client.get(f"{V1}/audit?{query}"), 400)


async def test_a_message_of_a_mebibyte_and_one_too_large(app: App, browse: MakeBrowser) -> None:
    client, path = browse().client, f"{V1}/queues/app:dead/publish"
    body = b'{"body": "' + b"x" * 900_000 + b'"}'

    assert (await client.post(path, content=body, headers=JSON)).status_code == 200
    beside = b'{"body": 1, "headers": {"a": "' + b"x" * 100_000 + b'"}}'
    assert is_problem(await client.post(path, content=beside, headers=JSON), 413)
    assert is_problem(await client.post(path, content=b" " * 3_000_000, headers=JSON), 413)
    assert is_problem(await client.post(PAUSE, content=b'{"reason": "' + b"x" * 70_000 + b'"}', headers=JSON), 413)
    twice = b'{"body": {"a": 1}, "id": "1", "body": {"a": 1}}'
    assert is_problem(await client.post(path, content=twice, headers=JSON), 400)
    deep = b'{"body": ' + b"[" * 900_000 + b"]" * 900_000 + b"}"  # Pythons differ in how deep JSON may be
    assert is_problem(await client.post(path, content=deep, headers=JSON), 400)
    assert (await app._runtime.queue("dead").depth()).ready == 1


@pytest.mark.parametrize("depth", [900, 5_000, 20_000, 100_000])
async def test_a_deep_message_is_refused_or_can_be_looked_at(app: App, browse: MakeBrowser, depth: int) -> None:
    """How deep a JSON text may be is the Python's to say: 1,000 levels, or some thousands."""
    client, path = browse().client, f"{V1}/queues/app:images"
    content = b'{"body": ' + b"[" * depth + b"]" * depth + b"}"

    answer = await client.post(f"{path}/publish", content=content, headers=JSON)
    if answer.status_code != 200:
        assert is_problem(answer, 400)
        assert (await app._runtime.queue("images").depth()).ready == 0
        return
    message = answer.json()["message"]
    shown = f"messages/app:images/{message}"
    for page in (f"{path}/messages", f"{V1}/{shown}", f"{V1}/{shown}/explain", "/queues/app:images", f"/{shown}"):
        assert (await client.get(page)).status_code == 200, page


async def test_a_body_that_does_not_come_is_408(browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_PATIENCE", 0.01)
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http", "method": "POST", "path": PAUSE, "raw_path": PAUSE.encode(), "query_string": b"",
        "root_path": "", "scheme": "http", "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1), "server": ("localhost", 80), "http_version": "1.1",
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await browse().desk(scope, receive, send)
    assert sent[0]["status"] == 408


async def test_a_thousand_requests_are_slowed_down(browse: MakeBrowser, one_moment: None) -> None:
    client = browse().client

    reads = [await client.get(f"{V1}/health") for _ in range(300)]
    acts = [await client.post(PAUSE, json={"for": "x"}) for _ in range(100)]

    for answers, burst in ((reads, 100), (acts, 20)):
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) == len(answers) - burst
        assert is_problem(refused[0], 429)
        assert int(refused[0].headers["retry-after"]) >= 1
    assert (await client.get("/livez")).status_code == 200


async def test_after_ten_wrong_tokens_wrong_ones_wait_and_the_right_one_passes(
    browse: MakeBrowser, one_moment: None
) -> None:
    client = browse(token=TOKEN).client
    wrong, right = {"authorization": "Bearer x"}, {"authorization": f"Bearer {TOKEN}"}
    statuses = [(await client.get(f"{V1}/queues", headers=wrong)).status_code for _ in range(150)]
    posted = [(await client.post(PAUSE, json={}, headers=wrong)).status_code for _ in range(30)]

    assert statuses == [401] * 10 + [429] * 140
    assert posted == [429] * 30
    assert is_problem(await client.get(f"{V1}/queues", headers=wrong), 429)
    for path in (f"{V1}/queues", "/metrics"):
        assert (await client.get(path, headers=right)).status_code == 200
    assert (await client.post(PAUSE, json={}, headers=right)).status_code == 200


async def test_an_act_without_its_right_is_403_and_not_in_the_audit(tmp_path: Any) -> None:
    (tmp_path / "_index.yaml").write_text(mails(policy("kana", ["pause"])))
    async with App.load(tmp_path) as app:
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app.desk(actor="kana", is_open=True)), base_url="http://localhost"
        )
        async with client:
            assert (await client.post(PAUSE, json={})).status_code == 200
            for path in ("resume", "purge", "publish"):
                answer = await client.post(
                    f"{V1}/queues/app:mails/{path}", json={"body": 1} if path == "publish" else {}
                )
                assert is_problem(answer, 403), path
                assert answer.json()["code"] == "denied"
            assert is_problem(await client.request("DELETE", f"{V1}/queues/app:mails", headers=JSON), 403)
            assert is_problem(await client.get(f"{V1}/queues/app:mails/messages"), 403)
            assert is_problem(await client.get(f"{V1}/messages/app:mails/x"), 403)
            assert [each.act for each in await acts_of(app._runtime.live())] == ["pause"]


async def test_a_mistake_of_ours_shows_an_id_and_no_trace(
    browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    browser = browse()

    async def broken() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(browser.desk.tools.sampler, "latest", broken)
    with caplog.at_level(logging.ERROR, "tasuki.desk"):
        answer = await browser.client.get(f"{V1}/overview")

    assert is_problem(answer, 500)
    assert "secret detail" not in answer.text
    assert "secret detail" in caplog.text


@pytest.mark.parametrize("act", ["publish", "delete"])
async def test_an_act_for_programs_is_no_form(app: App, browse: MakeBrowser, act: str) -> None:
    browser = browse()
    kind, id = "queue", "app:mails"
    assert (await browser.get(f"/confirm?act={act}&kind={kind}&id={id}")).status_code == 404
    _, fields = await browser.form("/confirm?act=pause&kind=queue&id=app:mails")

    answer = await browser.post(f"/acts/{act}", fields | {"act": act, "kind": kind, "id": id})

    assert answer.status_code == 404
    assert (await app._runtime.queue("mails").depth()).ready == 0
