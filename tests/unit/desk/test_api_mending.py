"""The JSON API: find, topology, edit and dry run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasuki import App
from tests.unit.desk.conftest import HOURLY, MakeBrowser
from tests.unit.desk.test_api import V1, Program
from tests.unit.desk.test_pages import fail

pytestmark = pytest.mark.anyio

POLICY = """
  - name: operators
    kind: security.policy
    policy:
      actions: [queue.admin.*]
      resources: "*"
      effect: allow
      conditions: [{field: actor.id, operator: eq, value: kana}]
"""
PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, lifecycle: {auto_start: true}}
  - {name: mails, kind: queue.queue, driver: driver, dead_letter: {queue: dead}}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: send, kind: function.lua, source: "return function(body) return body end"}
  - {name: sender, kind: queue.consumer, queue: mails, func: send}
"""


@pytest.fixture
def program(browse: MakeBrowser) -> Program:
    return Program(browse(actor="kana").client)


async def test_find_by_id_and_by_a_question(app: App, program: Program) -> None:
    first = await app.publish("mails", {"to": "a"}, {"tenant": "acme"})
    await app.publish("images", {"to": "b"}, HOURLY)

    by_id = await program.get(f"/find?q={first.id}")
    by_header = await program.get("/find?q=headers.tenant == 'acme'")

    for found in (by_id, by_header):
        assert [(each["queue"], each["id"]) for each in found["items"]] == [("app:mails", first.id)]
    assert (await program.get("/find?q=(", 400))["code"] == "invalid"
    assert (await program.get("/find", 400))["code"] == "invalid"
    assert (await program.get("/find?q=nothing-like-this"))["items"] == []


async def test_the_topology(program: Program) -> None:
    found = await program.get("/topology")
    lines = {each["queue"]: each for each in found["items"]}

    assert lines["app:images"]["schedules"] == ["app:hourly"]
    assert lines["app:mails"]["consumers"] == {"app:sender": ["app:send"]}
    assert lines["app:mails"]["dead_letters"] == "app:dead"
    assert [each["queue"] for each in (await program.get("/topology?q=HOURLY"))["items"]] == ["app:images"]


async def test_a_letter_is_edited_and_that_is_undone(app: App, program: Program) -> None:
    id = await fail(app, bad="1")
    path = f"/messages/app:dead/{id}/edit"

    wrong = await program.post(path, 400, body=[1])
    assert (wrong["code"], wrong["problems"][0]["field"]) == ("not_valid", "body")
    assert (await program.post(path, 400, headers={"x_cause": "1"}))["code"] == "not_valid"
    done = await program.post(path, body={"to": "b"}, headers={"tenant": "acme"})
    [message] = await app._runtime.queue("mails").peek()
    assert (done["message"], message.body, message.headers["tenant"]) == (message.id, b'{"to":"b"}', "acme")
    assert message.headers["x_edited_by"] == "kana"
    back = await program.post(f"/messages/app:dead/{done['message']}/undo-edit")
    assert back["message"] == id
    assert (await app._runtime.queue("mails").depth()).ready == 0
    assert (await program.post("/messages/app:dead/gone/edit", 404, body=1))["code"] == "not_found"
    assert [each["act"] for each in (await program.get("/audit?limit=2&q=undo"))["items"]] == ["undo_edit"]


async def test_a_dry_run_is_off_until_a_policy_allows_it(app: App, program: Program) -> None:
    job = await app.publish("mails", {"to": "a"})

    refused = await program.post(f"/messages/app:mails/{job.id}/dry-run", 403)

    assert "off until a policy allows" in refused["detail"]


@pytest.mark.skipif(sys.platform != "linux", reason="its own process: once is enough")
async def test_a_dry_run_says_what_would_happen(tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(PROJECT + POLICY)
    async with App.load(tmp_path) as app:
        job = await app.publish("mails", {"to": "a"})
        desk = app.desk(actor="kana", is_open=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client:
            answer = await client.post(f"{V1}/messages/app:mails/{job.id}/dry-run", json={})
            missing = await client.post(f"{V1}/messages/app:mails/gone/dry-run", json={})

        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert (found["outcome"], found["function"], found["message"]) == ("ack", "app:send", job.id)
        assert missing.status_code == 404
        assert (await app._runtime.queue("mails").depth()).ready == 1
