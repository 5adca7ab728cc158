"""The messages of a queue, one message, and acts on them."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki import App
from tests.unit.desk.test_pages import fail
from tests.unit.top.conftest import HOURLY, Sit

pytestmark = pytest.mark.anyio

HOSTILE = (
    "[red]markup[/red] [@click=app.quit]x[/]",
    "\x1b[31mred\x1b]52;c;ZXZpbA==\x07",
    "\u202egnp.exe\u2066",
    "日本語の本文です。" * 40,
    "👨‍👩‍👧 e\u0301 \u200b",
    "x" * 3000,
    "\r\n\t\x00",
)


async def test_messages_stand_with_their_state_and_body(app: App, sit: Sit) -> None:
    await app.publish("images", {"n": 1, "password": "hunter2"}, HOURLY)
    await app.publish("images", {"n": 2}, HOURLY, delay="1h")

    async with sit(app) as seat:
        text = await seat.press("enter")

        assert [row.split()[0] for row in seat.rows] == ["ready", "delayed"]
        assert '{"n":1,"password":"***"}' in text
        assert "1 … 2 of 2 waiting" in seat.lines[2]


async def test_a_list_goes_on_in_pages(app: App, sit: Sit) -> None:
    for number in range(120):
        await app.publish("images", {"n": number}, HOURLY)

    async with sit(app) as seat:
        await seat.press("enter")
        assert "1 … 50 of 120 waiting" in seat.lines[2]
        assert '"n":50' in await seat.press("G", "j")
        assert "51 … 100 of 120 waiting" in seat.lines[2]
        assert seat.top.scene.place.cursor == 0
        await seat.press("k")
        assert "1 … 50 of 120 waiting" in seat.lines[2]
        assert seat.top.scene.place.cursor == 49
        await seat.press("pagedown", "pagedown", "pagedown", "G", "pagedown")
        assert "101 … 120 of 120 waiting" in seat.lines[2]
        await seat.press("G", "j", "j")
        assert "101 … 120 of 120 waiting" in seat.lines[2]


@pytest.mark.parametrize("width", [60, 200])
async def test_hostile_texts_are_shown_as_text(app: App, sit: Sit, width: int) -> None:
    from rich.cells import cell_len

    for text in HOSTILE:
        await app.publish("images", {"text": text, text[:40]: 1}, {"tenant": text[:200], "message_type": text[:200]})

    async with sit(app, size=(width, 50)) as seat:
        await seat.press("enter")
        shown = [seat.text]
        for _ in HOSTILE:
            shown.append(await seat.press("enter"))
            assert {cell_len(line) for line in seat.lines} == {width}
            shown.append(await seat.press("G"))
            await seat.press("escape", "j")
        whole = "".join(shown)

        assert not set("\x1b\x07\r\x00\u202e\u2066") & set(whole)
        assert "[red]markup[/red]" in whole
        assert "\\u202egnp.exe" in whole
        svg = seat.top.export_screenshot()
        assert "markup" in svg


async def test_a_message_shows_why_it_does_not_run_and_its_body(app: App, sit: Sit) -> None:
    job = await app.publish("images", {"n": 1, "password": "hunter2"}, HOURLY | {"tenant": "acme"})

    async with sit(app, size=(80, 50)) as seat:
        text = await seat.press("enter", "enter")

        assert f"{job.id}  waiting" in text
        assert "no worker" in text
        assert '"password": "***"' in text
        assert "tenant      acme" in text
        assert text.index("Why it does not run now") < text.index("Body")
        assert "Copied" in await seat.press("y")
        assert seat.top.copied == job.id


async def test_e_goes_to_the_causes(app: App, sit: Sit) -> None:
    await fail(app)

    async with sit(app, size=(80, 14)) as seat:
        await seat.press("G", "enter")
        text = await seat.press("e")
        assert "Why it does not run now" in text.splitlines()[3]
        assert "Why it does not run now" not in (await seat.press("g")).splitlines()[3]
        assert "Why it does not run now" in (await seat.press("e")).splitlines()[3]


async def test_a_dead_letter_shows_its_error_first_and_is_retried(app: App, sit: Sit) -> None:
    id = await fail(app)

    async with sit(app, size=(100, 40)) as seat:
        assert "dead" in await seat.press("G", "enter")
        assert "FAILED" in seat.text
        text = await seat.press("enter")
        assert text.index("Last error") < text.index("Why it does not run now") < text.index("Body")
        assert "Retry 1 letter of app:dead?  Enter: yes" in await seat.press("r")
        assert (await app._runtime.queue("dead").depth()).ready == 1
        said = await seat.press("enter")

        assert id in said
        assert (await app._runtime.queue("dead").depth()).ready == 0
        assert (await app._runtime.queue("mails").depth()).ready == 1


async def test_messages_are_cancelled_after_a_question(app: App, sit: Sit) -> None:
    for number in range(3):
        await app.publish("images", {"n": number}, HOURLY)

    async with sit(app) as seat:
        await seat.press("enter", "x", "x")
        assert "Cancel 2 messages of app:images?" in await seat.press("K")
        await seat.press("escape")
        assert (await app._runtime.queue("images").depth()).ready == 3
        assert "cancel: all 2 done." in await seat.press("K", "enter")
        assert (await app._runtime.queue("images").depth()).ready == 1
        assert len(seat.rows) == 1


async def test_what_fails_is_said_with_its_number(app: App, sit: Sit, monkeypatch: pytest.MonkeyPatch) -> None:
    await fail(app)

    async with sit(app) as seat:
        await seat.press("G", "enter", "r")
        await app._runtime.queue("dead").purge()
        assert "waits in app:dead: it was sent back" in " ".join((await seat.press("enter")).split())


async def test_a_queue_that_is_not_made_yet_says_so(tmp_path: Any, sit: Sit) -> None:
    app = App(f"sqlite:///{tmp_path}/q.db", root=tmp_path)
    app.queue("mails")

    async with sit(app) as seat:
        assert "not made yet" in seat.rows[0]
        assert "does not exist at its broker yet" in await seat.press("enter")
        assert not (tmp_path / "q.db").exists()
