"""Brokers that are slow or away, mistakes, and what a reader may not do."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tasuki import App
from tasuki.app.app import reader_of
from tasuki.desk.site import Site
from tests.unit.desk.test_pages import fail
from tests.unit.top.conftest import HOURLY, Sit

pytestmark = pytest.mark.anyio

READER = """
version: "1.0"
namespace: shop
entries:
  - name: main
    kind: queue.driver.memory
  - {name: mails, kind: queue.queue, driver: main, dead_letter: {queue: dead}}
  - {name: dead, kind: queue.queue, driver: main}
  - name: kana_reads
    kind: security.policy
    policy:
      actions: [queue.admin.peek]
      resources: "*"
      effect: allow
      conditions: [{field: actor.id, operator: eq, value: kana}]
"""
TWO_BROKERS = """
version: "1.0"
namespace: app
entries:
  - {name: main, kind: queue.driver.memory}
  - {name: cache, kind: queue.driver.redis, url: "redis://127.0.0.1:1/0"}
  - {name: mails, kind: queue.queue, driver: main}
  - {name: far, kind: queue.queue, driver: cache}
"""


async def test_a_reader_sees_no_key_that_acts_and_can_press_none(tmp_path: Path, sit: Sit) -> None:
    (tmp_path / "tasuki.yaml").write_text(READER)
    app = App.load(tmp_path)
    async with app:
        await app.publish("shop:mails", 1)
        async with sit(app, size=(120, 50), actor="kana") as seat:
            assert seat.foot == "? help  Enter messages  / filter  s sort  q quit"
            assert "purge" not in await seat.press("question_mark")
            await seat.press("escape")
            await seat.press("slash")
            await seat.type("mails")
            await seat.press("enter")
            for key in ("p", "P"):
                assert "No policy allows you queue.admin.p" in await seat.press(key)
            assert "cancel" not in (await seat.press("enter")).splitlines()[-1]
            assert "No policy allows you queue.admin.cancel on shop:mails." in await seat.press("K")
            assert (await app._runtime.queue("shop:mails").depth()).ready == 1


async def test_who_may_see_no_message_sees_none(tmp_path: Path, sit: Sit) -> None:
    (tmp_path / "tasuki.yaml").write_text(READER)
    app = App.load(tmp_path)
    async with app:
        await app.publish("shop:mails", {"secret": "body"})
        async with sit(app, size=(120, 24), actor="mika") as seat:
            await seat.press("slash")
            await seat.type("mails")
            text = await seat.press("enter", "enter")
            assert "no policy allows queue.admin.peek on shop:mails" in text
            assert "secret" not in text
            assert "no policy allows queue.admin.peek" in await seat.press("2")


async def test_acts_are_logged_with_their_actor(app: App, sit: Sit, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tasuki.desk"):
        async with sit(app, actor="kana") as seat:
            await seat.press("p")

    assert [(record.actor, record.client, record.act) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("kana", "terminal", "pause"),
        ("kana", "terminal", "pause"),
    ]


async def test_a_broker_that_is_away_is_named_and_the_rest_goes_on(tmp_path: Path, sit: Sit) -> None:
    (tmp_path / "tasuki.yaml").write_text(TWO_BROKERS)
    app = App.load(tmp_path)
    async with app, sit(app) as seat:
        await app.publish("mails", 1)
        await seat.refresh()

        assert "cannot be read: Redis at 127.0.0.1:1" in seat.text
        assert "127.0.0.1:1" in seat.lines[-2]
        assert "● live" in seat.lines[0]
        assert seat.lines[1].startswith("READY 1")
        await seat.press("slash")
        await seat.type("far")
        assert "127.0.0.1:1" in await seat.press("enter", "enter")


class SlowSite(Site):
    """Answers nothing until it is let go."""

    def __init__(self, app: App) -> None:
        super().__init__(reader_of(app), app, opens=True)
        self.blocks = False
        self.asked = asyncio.Event()

    async def follow(self) -> None:
        if self.blocks:
            await asyncio.get_running_loop().create_future()


async def test_keys_work_while_a_broker_does_not_answer(app: App, sit: Sit) -> None:
    site = SlowSite(app)
    async with sit(app, site=site) as seat:
        site.blocks = True
        control = seat.top.control
        control.refresh()
        before = control._clock.monotonic
        for key in ("j", "s", "question_mark"):
            await seat.pilot.press(key)
        assert "Keys" in seat.lines[2]
        await seat.pilot.press("escape")
        control._began = before() - 5
        control.tick()
        assert "no answer for 5s" in seat.lines[0]
        site.blocks = False


async def test_a_mistake_of_ours_ends_no_screen(
    app: App, sit: Sit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await fail(app)
    async with sit(app) as seat:
        monkeypatch.setattr("tasuki.top.views.schedules.schedules_of", None)
        await seat.press("4")
        assert "TypeError" in seat.lines[-2]
        assert "● away" in seat.lines[0]
        assert "1 Queues" in await seat.press("1")
        assert "● live" in seat.lines[0]
    assert "top: view Schedules failed" in caplog.text


async def test_a_thousand_queues_are_one_list(tmp_path: Path, sit: Sit) -> None:
    app = App("memory://", root=tmp_path)
    for number in range(1000):
        app.queue(f"tenant-{number:04}")
    async with app, sit(app) as seat:
        assert "tenant-0000" in seat.text
        assert "tenant-0999" in await seat.press("G")
        await seat.press("slash")
        assert "tenant-0512" in await seat.type("0512")


async def test_ascii_draws_with_ascii_alone(app: App, sit: Sit) -> None:
    await app.publish("images", {"text": "日本語"}, HOURLY)
    await fail(app)
    async with sit(app, is_ascii=True, size=(150, 40)) as seat:
        for key in ("1", "2", "3", "4", "5", "question_mark", "escape", "1", "p", "s", "enter", "enter", "slash"):
            assert (await seat.press(key)).isascii(), key
        assert "\\u65e5\\u672c\\u8a9e" in seat.text


async def test_no_color_has_none(app: App, sit: Sit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with sit(app) as seat:
        assert seat.top.no_color
        assert seat.rows
