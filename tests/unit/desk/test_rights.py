"""Who may act at the desk, as policies say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tasuki import App
from tasuki.cli.worker.fleet import Fleet, WatchedFleet
from tasuki.desk.desk import Desk, beside
from tasuki.desk.security.access import Access
from tests.unit.desk.browser import Browser, words

pytestmark = pytest.mark.anyio

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: mails, kind: queue.queue, driver: driver}
"""
KANA_PAUSES = """
  - name: kana_pauses
    kind: security.policy
    policy:
      actions: [queue.admin.pause, queue.admin.peek]
      resources: app:mails
      effect: allow
      conditions: [{field: actor.id, operator: eq, value: kana}]
"""
STRICT = """
  - {name: security, kind: security.config, strict: true}
"""
OTHER = """
  - name: publishes
    kind: security.policy
    policy: {actions: "queue.*", resources: "*", effect: allow}
"""
PAUSE = "/confirm?act=pause&kind=queue&id=app:mails"
PURGE = "/confirm?act=purge&kind=queue&id=app:mails"


@pytest.fixture
async def opened(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[App]:
    (tmp_path / "_index.yaml").write_text(PROJECT + request.param)
    async with App.load(tmp_path) as app:
        yield app


def browser(
    app: App,
    actor: str = "",
    headers: dict[str, str] | None = None,
    *,
    header: str = "",
    proxy: str = "",
    token: str | None = None,
) -> Browser:
    is_open = token is None and not header
    desk = app.desk(actor=actor, actor_header=header, proxies=[proxy] if proxy else [], token=token, is_open=is_open)
    return client_of(desk, headers)


async def is_paused(app: App) -> bool:
    return "paused" in await app._runtime.queue("app:mails").info()


@pytest.mark.parametrize("opened", [KANA_PAUSES], indirect=True)
async def test_an_actor_may_do_what_a_policy_allows_and_nothing_else(opened: App) -> None:
    kana = browser(opened, "kana")
    page = (await kana.get("/queues/app:mails")).text

    assert "act=pause" in page
    assert "act=purge" not in page
    assert (await kana.get(PURGE)).status_code == 403
    await kana.act(PAUSE)
    assert await is_paused(opened)


@pytest.mark.parametrize("opened", [KANA_PAUSES], indirect=True)
async def test_an_actor_without_a_right_is_refused_at_the_server(opened: App) -> None:
    await opened.publish("app:mails", {"to": "kana"})
    kana, rin = browser(opened, "kana"), browser(opened, "rin")
    page = (await rin.get("/queues/app:mails")).text
    assert "act=pause" not in page
    assert "kana" not in page
    assert "no policy allows queue.admin.peek" in words(page)
    [message] = await opened._runtime.queue("app:mails").peek()
    assert (await rin.get(f"/messages/app:mails/{message.id}")).status_code == 403
    _, fields = await kana.form(PAUSE)
    token = rin.desk.tools.sessions.form_token(str(rin.desk.tools.sessions.read(rin.client.cookies["tasuki"])))

    answer = await rin.post("/acts/pause", fields | {"token": token})

    assert answer.status_code == 403
    assert "rin may not pause app:mails" in words(answer.text)
    assert not await is_paused(opened)


@pytest.mark.parametrize("opened", [KANA_PAUSES], indirect=True)
async def test_a_trusted_proxy_names_the_actor(opened: App) -> None:
    kana = browser(opened, headers={"x-user": "kana"}, header="x-user", proxy="127.0.0.1")
    unnamed = browser(opened, header="x-user", proxy="127.0.0.1")

    await kana.act(PAUSE)
    assert await is_paused(opened)
    assert (await unnamed.get("/")).status_code == 401


@pytest.mark.parametrize("opened", [KANA_PAUSES], indirect=True)
async def test_a_client_that_is_no_proxy_names_nobody(opened: App) -> None:
    stranger = browser(opened, headers={"x-user": "kana"}, header="x-user", proxy="10.0.0.1")

    assert (await stranger.get("/")).status_code == 401


@pytest.mark.parametrize("opened", [""], indirect=True)
async def test_a_session_by_way_of_a_proxy_is_worth_nothing_without_it(opened: App) -> None:
    token = "t" * 30
    proxied = browser(opened, headers={"x-user": "kana"}, header="x-user", proxy="127.0.0.1", token=token)
    await proxied.get("/")
    cookie = proxied.client.cookies["tasuki"]

    direct = browser(opened, headers={"cookie": f"tasuki={cookie}"}, header="x-user", proxy="10.0.0.1", token=token)

    assert (await proxied.get("/queues")).url.path == "/queues"
    assert (await direct.get("/queues")).url.path == "/login"


@pytest.mark.parametrize("opened", [STRICT], indirect=True)
async def test_a_strict_project_without_such_policies_allows_nothing(opened: App) -> None:
    assert (await browser(opened, "kana").get(PAUSE)).status_code == 403


@pytest.mark.parametrize("opened", [OTHER, ""], indirect=True)
async def test_without_a_policy_that_names_the_desk_all_is_allowed(opened: App) -> None:
    await browser(opened, "kana").act(PAUSE)

    assert await is_paused(opened)


FOR_CODE = """
  - name: cleans
    kind: security.policy
    policy: {actions: [queue.admin.purge, queue.admin.pause], resources: "*", effect: allow}
  - name: resumes
    kind: security.policy.expr
    policy: {actions: queue.admin.resume, resources: "*", effect: allow, expression: 'meta.actor != "x"'}
"""
FOR_ALL = """
  - name: all_pause
    kind: security.policy
    policy:
      actions: queue.admin.pause
      resources: "*"
      effect: allow
      conditions: [{field: actor.id, operator: exists}]
"""
BY_EXPRESSION = """
  - name: kana_pauses
    kind: security.policy.expr
    policy: {actions: queue.admin.pause, resources: "*", effect: allow, expression: 'actor.id == "kana"'}
"""
NEVER = """
  - name: never
    kind: security.policy
    policy: {actions: queue.admin.pause, resources: "*", effect: deny}
"""


@pytest.mark.parametrize("opened", [FOR_CODE], indirect=True)
async def test_a_policy_without_a_condition_on_the_actor_allows_nothing_here(
    opened: App, caplog: pytest.LogCaptureFixture
) -> None:
    kana = browser(opened, "kana")

    for act in ("pause", "purge", "resume"):
        assert (await kana.get(f"/confirm?act={act}&kind=queue&id=app:mails")).status_code == 403
    warned = [record.getMessage() for record in caplog.records if "no condition on the actor" in record.getMessage()]
    assert len(warned) == 2
    assert "app:cleans" in warned[0]


@pytest.mark.parametrize("opened", [FOR_CODE + FOR_ALL, BY_EXPRESSION], indirect=True)
async def test_a_condition_on_the_actor_may_allow_everyone_or_one(opened: App) -> None:
    await browser(opened, "kana").act(PAUSE)

    assert await is_paused(opened)


@pytest.mark.parametrize("opened", [FOR_ALL + NEVER], indirect=True)
async def test_a_denial_needs_no_condition(opened: App) -> None:
    assert (await browser(opened, "kana").get(PAUSE)).status_code == 403


@pytest.mark.parametrize("opened", [""], indirect=True)
async def test_two_names_of_an_actor_are_none(opened: App) -> None:
    proxied = browser(opened, header="x-user", proxy="127.0.0.1")

    answer = await proxied.client.get("/", headers=[("x-user", "admin"), ("x-user", "kana")])

    assert answer.status_code == 401


@pytest.mark.parametrize("opened", [FOR_ALL], indirect=True)
async def test_a_right_that_a_reload_takes_away_is_gone_for_the_next_request(opened: App, tmp_path: Path) -> None:
    desk = beside(opened, Access(is_open=True))
    await desk.site.open()
    try:
        kana = client_of(desk)
        action, fields = await kana.form(PAUSE)
        (tmp_path / "_index.yaml").write_text(PROJECT + FOR_ALL + NEVER)
        await opened.reload()

        assert (await kana.post(action, fields)).status_code == 403
        assert not await is_paused(opened)
    finally:
        await desk.close()


@pytest.mark.parametrize("opened", [FOR_ALL], indirect=True)
async def test_the_desk_of_several_processes_follows_a_reload_that_they_were_told_of(
    opened: App, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Fleet(lambda number: [], 2)
    desk = beside(App.load(tmp_path), Access(is_open=True), WatchedFleet(fleet))
    await desk.site.open()
    try:
        kana = client_of(desk)
        assert (await kana.get(PAUSE)).status_code == 200

        (tmp_path / "_index.yaml").write_text(PROJECT + "  - {name: x, kind: queue.nothing}")
        fleet.version = object()
        assert (await kana.get(PAUSE)).status_code == 200, "the old version, as in the processes"
        assert "desk: it shows the old version" in caplog.text

        (tmp_path / "_index.yaml").write_text(PROJECT + FOR_ALL + NEVER)
        fleet.version = object()
        assert (await kana.get(PAUSE)).status_code == 403
    finally:
        await desk.close()


def client_of(desk: Desk, headers: dict[str, str] | None = None) -> Browser:
    transport = httpx.ASGITransport(desk)
    return Browser(httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers), desk)
