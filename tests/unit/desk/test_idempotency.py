"""A request with a key happens once, at whichever desk of the project, also when several come at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tasuki import App
from tasuki.desk.acts import acts, messages
from tasuki.desk.api import serving
from tasuki.desk.api.serving import StoredReplies
from tasuki.errors import BrokerUnavailableError

pytestmark = pytest.mark.anyio

PUBLISH = "/api/v1/queues/app:mails/publish"
KEY = {"idempotency-key": "order-7"}


@pytest.fixture(params=["sqlite", "memory"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[App]:
    app = App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/queue.db", root=tmp_path)
    app.queue("mails")
    async with app:
        yield app


@pytest.fixture
async def client(app: App) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


def client_of(app: App, actor: str = "kana") -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app.desk(actor=actor, is_open=True)), base_url="http://localhost"
    )


async def ready(app: App) -> int:
    return (await app._runtime.queue("mails").depth()).ready


async def test_of_several_at_once_one_is_carried_out(app: App, client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post(PUBLISH, json={"body": 1}, headers=KEY) for _ in range(8)))

    assert await ready(app) == 1
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert {answer.json().get("code", "done") for answer in answers} <= {"in_progress", "done"}
    assert (await client.post(PUBLISH, json={"body": 1}, headers=KEY)).headers["idempotency-replayed"] == "true"


async def test_a_request_that_failed_here_may_be_tried_again(
    app: App, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = messages.publish

    async def away(*_: object) -> None:
        raise BrokerUnavailableError("refused", driver="app:driver")

    monkeypatch.setattr(acts, "publish", away)
    assert (await client.post(PUBLISH, json={"body": 1}, headers=KEY)).status_code == 503
    monkeypatch.setattr(acts, "publish", real)
    again = await client.post(PUBLISH, json={"body": 1}, headers=KEY)

    assert (again.status_code, await ready(app)) == (200, 1)
    assert "idempotency-replayed" not in again.headers


async def test_a_mistake_of_ours_leaves_no_claim(
    app: App, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = messages.publish

    async def broken(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(acts, "publish", broken)
    assert (await client.post(PUBLISH, json={"body": 1}, headers=KEY)).status_code == 500
    monkeypatch.setattr(acts, "publish", real)

    assert (await client.post(PUBLISH, json={"body": 1}, headers=KEY)).status_code == 200


async def test_two_desks_of_a_project_share_the_keys_and_two_actors_do_not(tmp_path: Path) -> None:
    app = App(f"sqlite:///{tmp_path}/queue.db", root=tmp_path)
    app.queue("mails")
    async with app, client_of(app) as one, client_of(app) as two, client_of(app, "mika") as other:
        first, second, third = [
            await client.post(PUBLISH, json={"body": 1}, headers=KEY) for client in (one, two, other)
        ]

        assert first.text == second.text != third.text
        assert await ready(app) == 2


async def test_without_a_store_few_keys_are_kept(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_MOST_HERE", 3)
    replies = StoredReplies(app.desk(is_open=True).site)
    for number in range(10):
        await replies._claim(str(number), serving.Reply("print"))

    assert len(replies._here) <= 3


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
    app: App, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = StoredReplies._put

    async def away(*_: object) -> None:
        raise BrokerUnavailableError("refused", driver="app:driver")

    monkeypatch.setattr(StoredReplies, "_put", away)
    answer = await client.post(PUBLISH, json={"body": 1}, headers=KEY)
    again = await client.post(PUBLISH, json={"body": 1}, headers=KEY)

    assert (answer.status_code, again.status_code, await ready(app)) == (200, 409, 1)
    assert "Idempotency-Key is not kept" in caplog.text
    monkeypatch.setattr(StoredReplies, "_put", real)
    monkeypatch.setattr(serving, "_MOST_BODY", 10)
    other = {"idempotency-key": "long"}
    assert (await client.post(PUBLISH, json={"body": 2}, headers=other)).status_code == 200
    lost = await client.post(PUBLISH, json={"body": 2}, headers=other)
    assert (lost.status_code, lost.json()["code"]) == (409, "done_before")
