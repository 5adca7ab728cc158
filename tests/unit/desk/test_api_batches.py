"""The JSON API: acts on many dead letters."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tasuki import App
from tests.support.desk_project import mails, policy
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.test_api import V1, Program, ready
from tests.unit.desk.test_pages import fail

pytestmark = pytest.mark.anyio


@pytest.fixture
def program(browse: MakeBrowser) -> Program:
    return Program(browse(actor="kana").client)


async def begin(app: App, program: Program, **body: Any) -> dict[str, Any]:
    """Begin a batch, wait for its end, and return its record."""
    done = await program.post("/batches", queue="app:dead", rate=0, **body)
    await app.dead.batches.wait(done["batch"])
    found: dict[str, Any] = await program.get(f"/batches/{done['batch']}")
    return found


async def test_letters_are_retried_and_brought_back(app: App, program: Program) -> None:
    for number in range(5):
        await fail(app, bad=str(number))

    batch = await begin(app, program, act="retry", where="body.bad != '0'")

    assert (batch["state"], batch["done"], batch["actor"]) == ("done", 4, "kana")
    assert (await ready(app, "mails"), await ready(app, "dead")) == (4, 1)
    assert [each["id"] for each in (await program.get("/batches"))["items"]] == [batch["id"]]
    undone = await program.post(f"/batches/{batch['id']}/undo")
    assert (undone["act"], undone["result"], undone["batch"]) == ("batch", "undo", batch["id"])
    await app.dead.batches.wait(batch["id"])
    assert (await program.get(f"/batches/{batch['id']}"))["undone"] == 4
    assert await ready(app, "dead") == 5
    acts = (await program.get("/audit"))["items"]
    assert [(each["act"], each["batch"], each["filter"]) for each in acts] == [
        ("batch", batch["id"], ""),
        ("redrive", batch["id"], "body.bad != '0'"),
    ]


async def test_some_letters_and_one_group(app: App, program: Program) -> None:
    ids = [await fail(app, bad=str(number)) for number in range(3)]
    [group] = (await program.get("/dead/groups?by=queue"))["groups"]

    some = await begin(app, program, act="delete", ids=ids[:2])
    rest = await begin(app, program, act="move", to="app:images", group={"by": "queue", "key": group["key"]})

    assert (some["done"], rest["done"]) == (2, 1)
    assert await ready(app, "images") == 1


async def test_a_batch_that_is_none(app: App, program: Program) -> None:
    await fail(app, bad="1")
    wrong: list[tuple[int, dict[str, Any]]] = [
        (404, {"act": "retry", "queue": "app:nope"}),
        (400, {"act": "retry", "queue": "app:dead", "where": "("}),
        (400, {"act": "burn", "queue": "app:dead"}),
        (400, {"act": "retry", "queue": "app:dead", "rate": -1}),
        (400, {"act": "retry", "queue": "app:dead", "canary": 51}),
        (400, {"act": "retry", "queue": "app:dead", "ids": [str(number) for number in range(1001)]}),
        (400, {"act": "move", "queue": "app:dead"}),
    ]
    for status, body in wrong:
        await program.post("/batches", status, **body)

    assert (await program.get("/batches"))["items"] == []
    for verb in ("pause", "resume", "cancel", "undo"):
        assert (await program.post(f"/batches/gone/{verb}", 404))["code"] == "not_found"
    assert (await program.get("/batches/gone", 404))["code"] == "not_found"
    assert await ready(app, "dead") == 1


async def test_a_batch_stands_still_and_goes_on(app: App, program: Program) -> None:
    for number in range(3):
        await fail(app, bad=str(number))
    done = await program.post("/batches", act="retry", queue="app:dead", rate=0.001)
    path = f"/batches/{done['batch']}"

    await program.post(f"{path}/pause")
    assert (await program.get(path))["state"] == "paused"
    assert (await program.post(f"{path}/pause", 409))["code"] == "failed"
    await program.post(f"{path}/cancel")
    assert (await program.get(path))["state"] == "cancelled"


async def test_one_needs_the_right_of_its_act(tmp_path: Any) -> None:
    (tmp_path / "_index.yaml").write_text(mails(policy("kana", ["redrive"], "app:dead")))
    async with App.load(tmp_path) as app:
        transport = httpx.ASGITransport(app.desk(actor="kana", is_open=True))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for body in (
                {"act": "delete", "queue": "app:dead"},
                {"act": "move", "queue": "app:dead", "to": "app:mails"},
                {"act": "retry", "queue": "app:dead", "to": "app:mails"},
            ):
                assert (await client.post(f"{V1}/batches", json=body)).status_code == 403, body
            begun = await client.post(f"{V1}/batches", json={"act": "retry", "queue": "app:dead"})
            assert begun.status_code == 200
            batch = begun.json()["batch"]
            assert (await client.post(f"{V1}/batches/{batch}/undo", json={})).status_code == 403
            assert (await client.get(f"{V1}/batches/{batch}")).status_code == 403
            assert (await client.get(f"{V1}/batches")).json() == {"items": []}
