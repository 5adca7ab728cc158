"""What viewers see without the right to look into a queue, or at the acts of others."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tasuki import App
from tasuki.desk.reading import sampler
from tasuki.state.worker_record import PRESENCE, Presence, PresentConsumer, RunningMessage
from tests.support.desk_project import mails, policy
from tests.unit.desk.browser import Browser, words
from tests.unit.desk.test_every_act import MORE
from tests.unit.desk.test_rights import browser as browser_of

pytestmark = pytest.mark.anyio

AUDITS_MAILS = """
  - name: kana_audits_mails
    kind: security.policy
    policy:
      actions: [queue.admin.audit]
      resources: app:mails
      effect: allow
      conditions: [{field: actor.id, operator: eq, value: kana}]
"""
RUNS = RunningMessage("m-1", "app:func", time.time() - 5, key="customer-7")
WORKER = Presence(
    "web", 7, "1", time.time() - 60, time.time(),
    [PresentConsumer("app:sender", "mails", "app:driver", 1, running=1, messages=[RUNS])],
)  # fmt: skip


@asynccontextmanager
async def desk_of(folder: Path, rights: Collection[str], more: str = "") -> AsyncIterator[tuple[App, Browser]]:
    """The desk of kana, who has these rights."""
    text = mails(*MORE, policy("kana", rights))
    (folder / "_index.yaml").write_text(text + more)
    async with App.load(folder) as app:
        yield app, browser_of(app, "kana")


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_merged", lambda workers: [WORKER])


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("right", ["peek", "pause"])
async def test_what_runs_is_named_and_linked_only_where_the_link_opens(tmp_path: Path, right: str) -> None:
    async with desk_of(tmp_path, [right]) as (_, browser):
        worker = "/workers/" + WORKER.key.removeprefix(PRESENCE)
        for path in ("/", "/queues/app:mails?tab=running", "/workers", worker):
            page = (await browser.get(path)).text
            assert "m-1" in words(page), path
            assert ("/messages/app:mails/m-1" in page) == (right == "peek"), path
        if right != "peek":
            assert (await browser.get("/messages/app:mails/m-1")).status_code == 403


@pytest.mark.usefixtures("running")
async def test_the_order_key_of_what_runs_is_for_those_who_may_look(tmp_path: Path) -> None:
    for rights, shown in ((["peek"], True), (["pause"], False)):
        async with desk_of(tmp_path, rights) as (_, browser):
            for path in ("queues/app:mails", "workers", "workers/web:7"):
                answer = await browser.get(f"/api/v1/{path}")
                assert answer.status_code == 200
                assert "m-1" in answer.text
                assert ("customer-7" in answer.text) is shown, path


async def test_there_is_nothing_to_select_for_those_who_may_only_look(tmp_path: Path) -> None:
    async with desk_of(tmp_path, ["peek"]) as (app, browser):
        await app.publish("app:mails", 1)
        for path in ("/queues", "/queues/app:mails"):
            page = (await browser.get(path)).text
            assert 'class="open"' in page
            assert 'name="ids"' not in page


async def test_the_audit_needs_its_right(tmp_path: Path) -> None:
    async with desk_of(tmp_path, ["pause", "peek"]) as (_, browser):
        await browser.act("/confirm?act=pause&kind=queue&id=app:mails")
        page, answer = await browser.get("/audit"), await browser.get("/api/v1/audit")
        assert [page.status_code, answer.status_code] == [403, 403]
        assert "queue.admin.audit" in words(page.text)
        assert answer.json()["detail"].endswith("no policy allows queue.admin.audit")
        assert "/audit" not in (await browser.get("/queues")).text


async def test_acts_are_shown_on_the_entries_that_the_right_is_for(tmp_path: Path) -> None:
    async with desk_of(tmp_path, ["pause"], more=AUDITS_MAILS) as (_, browser):
        for id in ("app:mails", "app:dead"):
            await browser.act(f"/confirm?act=pause&kind=queue&id={id}")
        page, answer = await browser.text("/audit"), await browser.get("/api/v1/audit")
        assert "app:mails" in page
        assert "app:dead" not in page
        assert "One more act is on an entry whose acts you may not see." in page
        assert [each["target"] for each in answer.json()["items"]] == ["app:mails"]
        assert 'href="/audit"' in (await browser.get("/queues")).text
