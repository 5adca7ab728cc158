"""Bounds that hold for a burst, rights to what numbers and events tell, and what two desks do to each other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasuki import App
from tasuki.desk.api.decoding import without_body
from tasuki.desk.desk import Desk
from tasuki.desk.pages import events
from tests.support.desk_project import mails, policy
from tests.unit.desk.browser import form_of
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.letters import bury
from tests.unit.desk.test_attacks import PAUSE, TOKEN, is_paused

pytestmark = pytest.mark.anyio

V1 = "/api/v1"


async def opened_at_once(desk: Desk, path: str, clients: list[str]) -> int:
    """How many of these requests, which come in one moment, are answered with 200; then all clients go."""
    opened, gone = 0, asyncio.Event()

    async def ask(client: str) -> None:
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal opened
            if message["type"] == "http.response.start":
                opened += message["status"] == 200

        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "scheme": "http", "headers": [(b"host", b"localhost")], "client": (client, 1),
            "server": ("localhost", 80), "http_version": "1.1",
        }  # fmt: skip
        await desk(scope, receive, send)

    tasks = [asyncio.create_task(ask(client)) for client in clients]
    for _ in range(50 + 10 * len(clients)):  # one step of one page in each turn of the loop
        await asyncio.sleep(0)
    gone.set()
    await asyncio.gather(*tasks)
    return opened


async def test_streams_that_come_at_once_are_bounded(browse: MakeBrowser) -> None:
    desk = browse().desk

    assert await opened_at_once(desk, "/events", ["10.0.0.1"] * 50) == events.MOST_OF_ONE
    assert await opened_at_once(desk, "/events", [f"10.0.1.{n}" for n in range(200)]) == events.MOST
    assert not desk.tools.streams


async def test_downloads_that_come_at_once_are_bounded(app: App, browse: MakeBrowser) -> None:
    await bury(app, "m")
    desk = browse().desk

    assert await opened_at_once(desk, "/dead/app:dead/export", [f"10.0.0.{n}" for n in range(20)]) == 4
    assert not desk.tools.library.downloads


@pytest.mark.parametrize("path", ["/livez/x", "/readyz/messages/app:mails/1", "/livez/api"])
async def test_only_the_probes_themselves_are_free(browse: MakeBrowser, path: str) -> None:
    client = browse(token=TOKEN).client

    assert (await client.get(path, headers={"host": "evil.example"})).status_code == 421
    assert (await client.get(path)).status_code == 303
    assert (await client.get("/livez", headers={"host": "evil.example"})).status_code == 200


@pytest.mark.parametrize("token", [None, TOKEN])
async def test_two_desks_of_one_host_leave_each_others_sessions_alone(
    app: App, token: str | None, tmp_path: Path
) -> None:
    """``tasuki dev`` of a second project takes the next port, and a browser sends a host's cookies to all its ports."""
    other, is_open = None if token is None else "u" * 30, token is None
    one, two = app.desk(token=token, is_open=is_open), app.desk(token=other, is_open=is_open)
    first, second = "http://localhost:9321", "http://localhost:9322"
    mounts = {first: httpx.ASGITransport(one), second: httpx.ASGITransport(two)}
    async with httpx.AsyncClient(mounts=mounts) as client:
        if token is not None:
            for base, key in ((first, token), (second, "u" * 30)):
                await client.post(f"{base}/login", data={"token": key})
        action, fields = form_of((await client.get(first + PAUSE)).text)
        assert (await client.get(f"{second}/queues")).status_code == 200

        answer = await client.post(first + action, data=fields)

    assert answer.status_code == 303
    assert await is_paused(app)


@pytest.mark.parametrize(
    "body",
    [
        '{"headers": {"tenant": "x"}, "body": "tenant"}', '{"headers": {"n": 10}, "body": 1}',
        '{"headers": {"body": 10}, "body": 1}', '{"body": 1 , "headers": {"n": 1}}', '{"b\\u006fdy": 1}',
        '{"headers": {"\\"body\\":1": 1}, "body": 1}', '{"body": {"body": 1, "body": 2}}', '{"body": "}"}',
    ],
)  # fmt: skip
async def test_a_body_that_stands_elsewhere_too_is_published(tmp_path: Path, body: str) -> None:
    app = App("memory://", root=tmp_path)
    app.queue("any")
    async with (
        app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app.desk(is_open=True)), base_url="http://localhost") as client,
    ):
        answer = await client.post(
            f"{V1}/queues/app:any/publish", content=body, headers={"content-type": "application/json"}
        )

    assert answer.status_code == 200, answer.text


def test_the_body_alone_is_left_out() -> None:
    assert without_body(b'{"headers":{"body":10},"body":1}', b"1") == b'{"headers":{"body":10},"body":null}'
    assert without_body(b'{"body" :\n {"a":1} , "key":"k"}', b'{"a":1}') == b'{"body" :\n null , "key":"k"}'


async def test_a_right_that_was_missing_is_not_kept_under_a_key(app: App, browse: MakeBrowser) -> None:
    browser = browse()
    rights = browser.desk.tools.acts.rights()
    require, key = rights.require, {"idempotency-key": "k"}
    rights.require = _denies  # type: ignore[method-assign]
    denied = await browser.client.post(f"{V1}/queues/app:mails/pause", json={}, headers=key)
    rights.require = require  # type: ignore[method-assign]

    again = await browser.client.post(f"{V1}/queues/app:mails/pause", json={}, headers=key)

    assert (denied.status_code, again.status_code) == (403, 200)
    assert "idempotency-replayed" not in again.headers


def _denies(actor: str, act: str, id: str) -> None:
    from tasuki.errors import PolicyDeniedError

    raise PolicyDeniedError(f"{actor} may not", actor=actor, action=act, resource=id)


POLICY = mails(policy("kana", ["redrive", "pause"]), driver="sqlite")


@pytest.fixture
async def strict(tmp_path: Path) -> Any:
    (tmp_path / "_index.yaml").write_text(POLICY)
    async with App.load(tmp_path) as app:
        desk = app.desk(actor="kana", is_open=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client:
            yield app, client


async def test_who_may_retry_and_not_look_cannot_ask_by_filter(strict: tuple[App, httpx.AsyncClient]) -> None:
    _, client = strict
    confirm = "/dead/app:dead/confirm?act=redrive"
    whole = await client.get(confirm)
    action, fields = form_of(whole.text)

    assert whole.status_code == 200
    for more in ({"where": 'body.card == "4"'}, {"by": "type", "group": "KeyError"}):
        assert (await client.get(confirm, params={"act": "redrive", **more})).status_code == 403
        begun = await client.post(action, data=fields | more | {"name": "app:dead"})
        assert begun.status_code == 403
        group = {"by": "type", "key": "KeyError"} if "group" in more else None
        body = {"act": "retry", "queue": "app:dead", "where": more.get("where", ""), "group": group}
        assert (await client.post(f"{V1}/batches", json=body)).status_code == 403


async def test_events_of_a_worker_are_for_those_who_may_see_its_messages(
    strict: tuple[App, httpx.AsyncClient],
) -> None:
    from tasuki.state.worker_record import Presence, PresentConsumer, encode

    app, client = strict
    assert app._runtime.assembly is not None
    state = app._runtime.assembly.state_of("app:mails")
    assert state is not None
    store = await state.store()
    now = await store.time()
    worker = Presence("elsewhere", 7, "1", now - 9, now, [PresentConsumer("app:sender", "mails", "app:driver", 1)])
    await store.put(worker.key, encode(worker))

    answer = await client.get(f"{V1}/workers/elsewhere:7/events")

    assert answer.status_code == 403
    assert "queue.admin.peek" in answer.text
