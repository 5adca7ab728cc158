"""Every act of the desk is in the audit, which its page shows; an unavailable store stops no act."""

from __future__ import annotations

import logging

import pytest

from tasuki import App
from tasuki.app.state import auditing
from tasuki.app.state.auditing import acts_of
from tasuki.errors import BrokerUnavailableError
from tasuki.state import audit
from tasuki.state.audit import AuditRecord
from tests.unit.desk.browser import form_of
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.test_pages import fail

pytestmark = pytest.mark.anyio

PAUSE = "/confirm?act=pause&kind=queue&id=app:mails"


async def acts(app: App) -> list[AuditRecord]:
    return await acts_of(app._runtime.live())


async def test_each_act_is_kept_with_who_and_what(app: App, browse: MakeBrowser) -> None:
    browser = browse(actor="kana")
    letter = await fail(app, bad="1")

    await browser.act(PAUSE)
    await browser.act("/confirm?act=resume&kind=queue&id=app:mails")
    await browser.act("/confirm?act=resume&kind=queue&id=app:mails")
    await browser.act(f"/confirm?act=redrive&kind=queue&id=app:dead&message={letter}&at=0")
    await browser.act("/confirm?act=purge&kind=queue&id=app:mails", name="app:mails")

    found = [(each.act, each.target, each.filter, each.count, each.result) for each in await acts(app)]
    assert found == [
        ("purge", "app:mails", "", 1, "done"),
        ("redrive", "app:dead", f"id:{letter}", 1, "done"),
        ("resume", "app:mails", "", None, "not paused"),
        ("resume", "app:mails", "", None, "done"),
        ("pause", "app:mails", "", None, "done"),
    ]
    assert {(each.actor, each.client) for each in await acts(app)} == {("kana", "127.0.0.1")}


async def test_an_export_is_kept_before_its_first_letter_leaves(app: App, browse: MakeBrowser) -> None:
    browser = browse(actor="kana")
    letter = await fail(app, bad="1")

    await browser.get("/dead/app:dead/export?by=type&group=ValueError&where=attempts+>+0")
    token = form_of((await browser.get("/dead/app:dead")).text)[1]["token"]
    await browser.post("/dead/app:dead/export", {"token": token, "ids": letter})
    await browser.post("/dead/app:dead/export", {"token": token})

    found = [(each.act, each.target, each.actor, each.filter, each.result) for each in await acts(app)]
    assert found == [
        ("export", "app:dead", "kana", f"id:{letter}", "done"),
        ("export", "app:dead", "kana", "type:ValueError attempts > 0", "done"),
    ]


async def test_an_act_that_failed_is_kept_and_one_that_was_no_act_is_not(app: App, browse: MakeBrowser) -> None:
    browser = browse()

    await browser.act("/confirm?act=redrive&kind=queue&id=app:dead&message=gone")
    await browser.act(PAUSE, **{"for": "soon"})

    [found] = await acts(app)
    assert (
        found.result == "failed: no message 'gone' waits in app:dead: it was sent back, deleted, or a process holds it"
    )


async def test_the_page_shows_and_filters(browse: MakeBrowser) -> None:
    browser = browse(actor="<b>kana</b>")
    assert "Nothing was changed here yet." in await browser.text("/audit")
    await browser.act(PAUSE)
    await browser.act("/confirm?act=pause&kind=schedule&id=app:hourly")

    page = await browser.text("/audit")
    other = await browser.text("/audit?q=hourly")

    assert "&lt;b&gt;kana" in (await browser.get("/audit")).text
    assert "app:mails" in page
    assert "127.0.0.1" in page
    assert "app:mails" not in other.partition("On Messages")[2]
    assert "No act fits this filter." in await browser.text("/audit?q=nothing")


async def test_a_store_that_is_away_stops_no_act(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(*_: object) -> None:
        raise BrokerUnavailableError("redis://: connection refused", driver="app:driver")

    monkeypatch.setattr(audit, "write", away)
    with caplog.at_level(logging.INFO):
        answer = await browse().act(PAUSE)

    assert answer.status_code == 200
    assert "paused" in await app._runtime.queue("mails").info()
    assert "the audit lacks pause app:mails" in caplog.text
    assert "desk: pause app:mails done" in caplog.text


async def test_a_store_that_is_silent_delays_an_act_by_a_bound(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import asyncio

    async def silent(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(audit, "write", silent)
    monkeypatch.setattr(auditing, "PATIENCE", 0.01)

    kept = await auditing.note(app._runtime.live(), "app:mails", AuditRecord(0.0, "kana", "", "pause", "app:mails"))

    assert not kept
    assert "no answer within" in caplog.text


async def test_a_secret_in_a_filter_is_not_kept(app: App, browse: MakeBrowser) -> None:
    browser = browse()
    await fail(app, bad="1")

    await browser.get('/dead/app:dead/export?where=body.note+==+"password=hunter2"')

    assert "hunter2" not in (await browser.get("/api/v1/audit")).text
    assert "password=***" in (await acts(app))[0].filter


async def test_secrets_are_not_kept(app: App) -> None:
    live = app._runtime.live()

    async def fail() -> None:
        async with auditing.audited(live, "app:mails", "purge", "app:mails", actor="kana", client="here") as outcome:
            outcome.filter = "password=hunter2"
            raise RuntimeError("redis://kana:hunter2@cache is unavailable\nand more")

    with pytest.raises(RuntimeError):
        await fail()

    [found] = await acts(app)
    assert "hunter2" not in found.filter + found.result
    assert found.result.startswith("failed: redis://")


async def test_an_act_says_how_it_was_to_be_done(app: App, browse: MakeBrowser) -> None:
    browser = browse(actor="kana")
    await browser.act("/confirm?act=pause&kind=queue&id=app:mails", **{"for": "30m", "reason": "the API answers 429"})
    await browser.act("/confirm?act=scale&kind=consumer&id=app:sender", concurrency="3")
    await browser.act("/confirm?act=scale&kind=consumer&id=app:sender", concurrency="")
    await fail(app, bad="1")
    await browser.act("/dead/app:dead/confirm?act=move", name="app:dead", to="app:images", rate="50", fast="1")

    assert [(each.act, each.options) for each in await acts(app)] == [
        ("move", "to app:images, as fast as possible"),
        ("scale", "as declared"),
        ("scale", "concurrency 3"),
        ("pause", "for 30m, reason: the API answers 429"),
    ]
    text = await browser.text("/audit")
    assert "scale concurrency 3" in text
    assert "move to app:images, as fast as possible" in text
