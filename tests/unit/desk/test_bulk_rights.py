"""Who may act on many letters: the server refuses what the page does not offer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tasuki.drivers.memory.driver import MemoryDriver
from tests.support.desk_project import mails, policy
from tests.unit.desk.browser import Browser, form_of, words
from tests.unit.desk.test_rights import client_of

pytestmark = pytest.mark.anyio

PROJECT = mails(
    "{name: payments, kind: queue.queue, driver: driver}",
    policy("kana", ["peek", "move", "redrive"], "[app:dead, app:mails]"),
    policy("mika", ["peek"]),
    policy("ren", ["pause"]),
)
DEAD = "/dead/app:dead"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    (tmp_path / "_index.yaml").write_text(PROJECT)
    async with App.load(tmp_path) as app:
        headers = {"x_original_queue": "app:mails", "x_last_error": "KeyError: 'secret cause'"}
        assert not any(await app._runtime.queue("app:dead").forward([Outgoing("1", b"{}", dict(headers))]))
        yield app


def browser(app: App, actor: str) -> Browser:
    return client_of(app.desk(actor=actor, is_open=True))


async def begin(one: Browser, act: str, to: str = "") -> int:
    """The status of beginning an act on all letters, whatever the page offers."""
    page = await one.get(DEAD)
    session = one.desk.tools.sessions.read(one.client.cookies["tasuki"])
    assert (page.status_code, session is not None) == (200, True)
    token = one.desk.tools.sessions.form_token(str(session))
    fields = {"token": token, "act": act, "count": "1", "name": "app:dead", "to": to, "fast": "1"}
    return (await one.client.post(f"{DEAD}/begin", data=fields)).status_code


async def test_a_reader_sees_letters_and_no_button_and_can_begin_nothing(app: App) -> None:
    mika = browser(app, "mika")
    page = await mika.text(DEAD)
    assert "secret cause" in page
    for word in ("Retry 1", "Move 1", "Delete 1"):
        assert word not in page
    for act in ("redrive", "move", "remove"):
        assert (await mika.get(f"{DEAD}/confirm?act={act}")).status_code == 403
        assert await begin(mika, act, "app:mails" if act == "move" else "") == 403
    assert await app.dead.batches.list() == []


async def test_a_mover_moves_only_to_where_he_may(app: App) -> None:
    kana = browser(app, "kana")
    assert await begin(kana, "move", "app:payments") == 403
    assert await begin(kana, "redrive", "app:payments") == 403
    assert await begin(kana, "remove") == 403
    assert await app.dead.batches.list() == []
    assert await begin(kana, "move", "app:mails") == 303
    [batch] = await app.dead.batches.list()
    assert (await app.dead.batches.wait(batch.id)).state == "done"
    assert batch.actor == "kana"
    page = await kana.text(f"/batches/{batch.id}")
    assert "Cancel" not in page
    assert "Undo" not in page
    fields = {"token": form_of((await kana.get("/dead/app:dead/confirm?act=redrive")).text)[1]["token"], "verb": "undo"}
    assert (await kana.post(f"/batches/{batch.id}", fields)).status_code == 403


async def test_who_may_not_see_letters_sees_none_anywhere(app: App) -> None:
    ren = browser(app, "ren")
    for path in ("/dead", DEAD, f"{DEAD}?by=type&group=KeyError"):
        page = await ren.text(path)
        assert "secret cause" not in page
        assert "no policy allows queue.admin.peek" in page
    assert (await ren.get(f"{DEAD}/export")).status_code == 403
    batch = await app.dead.batches.begin("retry", "app:dead", rate=0.001)
    assert (await ren.get(f"/batches/{batch.id}")).status_code == 403
    assert "Last batches" not in await ren.text("/dead")


async def test_without_the_right_nothing_is_borrowed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("peek"))
    kana = browser(app, "kana")
    page = (await kana.get(DEAD)).text
    assert "cannot show messages" in words(page)
    assert "Borrow" not in page
    token = form_of((await kana.get(f"{DEAD}/confirm?act=redrive")).text)[1]["token"]
    assert (await kana.post(f"{DEAD}/borrow", {"token": token})).status_code == 403
    for page in ("json", "test"):
        answer = await kana.get(f"/messages/app:dead/1/{page}")
        assert (answer.status_code, "queue.admin.borrow" in answer.text) == (403, True)


async def test_who_may_not_see_letters_gets_no_words_of_them(app: App) -> None:
    """The overview and the page of a queue show causes to those who may look into it."""
    for path in ("/", "/dead", DEAD):
        assert "secret cause" not in (await browser(app, "ren").get(path)).text
    assert "secret cause" in (await browser(app, "mika").get("/")).text
