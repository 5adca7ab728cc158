"""A dead letter is edited and sent again, or tried out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki import App
from tasuki.errors import PublishError
from tests.unit.desk.test_pages import fail
from tests.unit.top.conftest import HOURLY, Sit

pytestmark = pytest.mark.anyio

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: main, kind: queue.driver.memory}
  - {name: mails, kind: queue.queue, driver: main}
  - {name: send, kind: function.lua, source: "return function(mail) error('no [red]way[/red]') end"}
  - {name: sender, kind: queue.consumer, queue: mails, func: send}
  - name: all
    kind: security.policy
    policy:
      actions: ["queue.admin.*"]
      resources: "*"
      effect: allow
      conditions: [{field: actor.id, operator: exists}]
"""


async def test_an_edited_letter_is_sent_as_a_new_message(app: App, sit: Sit) -> None:
    id = await fail(app, bad="no route")

    async with sit(app, size=(120, 24)) as seat:
        seat.top.editor = lambda text: text.replace("no route", "a route")
        await seat.press("2", "enter")
        assert "E edit" in seat.foot
        assert id in await seat.press("E")
        assert (await app._runtime.queue("dead").depth()).ready == 0
        [message] = await app._runtime.queue("mails").driver.peek("mails", 10)
        assert b"a route" in message.body
        assert message.headers["x_edited_from"] == id


async def test_an_unchanged_or_empty_text_sends_nothing(app: App, sit: Sit) -> None:
    await fail(app)

    async with sit(app) as seat:
        await seat.press("G", "enter", "enter")
        for text in (None, "", "\n"):
            seat.top.editor = lambda _, text=text: text  # type: ignore[misc]
            assert "Nothing was sent" in await seat.press("E")
        seat.top.editor = str
        assert "Nothing was sent" in await seat.press("E")
        assert (await app._runtime.queue("dead").depth()).ready == 1


async def test_a_text_with_mistakes_comes_back_with_them(app: App, sit: Sit) -> None:
    await fail(app, bad="no route")
    opened: list[str] = []

    def editor(text: str) -> str:
        opened.append(text)
        return text.replace('"bad"', "bad") if len(opened) == 1 else opened[0].replace("no route", "a route")

    async with sit(app) as seat:
        seat.top.editor = editor
        await seat.press("G", "enter", "E")
        assert len(opened) == 2
        assert "no JSON" in opened[1]
        assert (await app._runtime.queue("dead").depth()).ready == 0


async def test_a_letter_that_has_gone_is_not_edited(app: App, sit: Sit) -> None:
    await fail(app)

    async with sit(app) as seat:
        await seat.press("G", "enter")
        await app._runtime.queue("dead").purge()
        assert "does not wait in app:dead any more" in " ".join((await seat.press("E")).split())


async def test_a_dry_run_is_off_until_a_policy_allows_it(app: App, sit: Sit) -> None:
    await app.publish("images", {"n": 1}, HOURLY)

    async with sit(app, size=(150, 24)) as seat:
        await seat.press("enter")
        assert "dry run" not in seat.foot
        assert "queue.admin.dry_run" in await seat.press("d")


async def test_a_dry_run_shows_what_the_handler_would_do(tmp_path: Path, sit: Sit) -> None:
    (tmp_path / "tasuki.yaml").write_text(PROJECT)
    app = App.load(tmp_path)
    async with app, sit(app, size=(100, 30), actor="kana") as seat:
        await app.publish("mails", {"n": 1})
        await seat.refresh()
        await seat.press("enter")
        assert "d dry run" in seat.foot
        assert "in its own process?" in await seat.press("d")
        report = await seat.press("enter")
        assert "Dry run: retry" in report
        assert "no [red]way[/red]" in report
        assert (await app._runtime.queue("mails").depth()).ready == 1
        await seat.press("y", "escape")
        assert "app:mails" in seat.lines[2]


async def test_a_text_that_cannot_be_published_is_not_lost(app: App, sit: Sit, monkeypatch: pytest.MonkeyPatch) -> None:
    await fail(app, bad="no route")
    async with sit(app, size=(120, 24)) as seat:
        opened: list[str] = []

        def edit(text: str) -> str | None:
            opened.append(text)
            return text.replace("no route", "a route") if len(opened) == 1 else None

        async def refuse(*_: object) -> None:
            raise PublishError("the broker takes no such header")

        seat.top.editor = edit
        monkeypatch.setattr(seat.top.control.reading, "carry_out", refuse)
        await seat.press("2", "enter", "E")

        assert len(opened) == 2
        assert "a route" in opened[1]
        assert "the broker takes no such header" in opened[1]
