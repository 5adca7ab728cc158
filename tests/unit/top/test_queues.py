"""The list of queues."""

from __future__ import annotations

import pytest

from tasuki import App
from tests.unit.top.conftest import HOURLY, Sit

pytestmark = pytest.mark.anyio


async def test_the_first_screen_has_the_queues_and_their_sums(app: App, sit: Sit) -> None:
    for number in range(3):
        await app.publish("mails", number)
    await app.publish("images", 1, HOURLY, delay="1h")

    async with sit(app) as seat:
        assert seat.lines[0].startswith("tasuki  shop  memory")
        assert "● live" in seat.lines[0]
        assert seat.lines[1].startswith("READY 3  RUN 0/0  DELAY 1  DEAD 0")
        assert "1 Queues" in seat.lines[2]
        assert seat.lines[3].split() == ["QUEUE", "READY", "RUN", "DELAY", "DEAD", "OLDEST", "OUT/s", "FAIL", "P95"]
        assert [row.split()[:2] for row in seat.rows] == [["!", "app:images"], ["!", "app:mails"], ["app:dead", "0"]]
        assert len(seat.lines) == 24
        assert {len(line) for line in seat.lines} == {80}


async def test_the_terminal_gets_the_lines_of_the_scene(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        await seat.pilot.pause()
        strips = [seat.top._picture.render_line(at).text for at in range(24)]

        assert strips == seat.lines


@pytest.mark.parametrize(
    ("width", "there", "not_there"),
    [
        (60, "OLDEST", ("OUT/s", "FAIL", "P95")),
        (80, "P95", ("WORKERS", "LAST HOUR")),
        (120, "LAST HOUR", ("DRIVER",)),
        (200, "DRIVER", ()),
    ],
)
async def test_a_wider_terminal_has_more_columns(
    app: App, sit: Sit, width: int, there: str, not_there: tuple[str, ...]
) -> None:
    async with sit(app, size=(width, 24)) as seat:
        assert there in seat.lines[3]
        assert not [title for title in not_there if title in seat.lines[3]]
        assert {len(line) for line in seat.lines} == {width}


async def test_a_resized_terminal_is_drawn_anew(app: App, sit: Sit) -> None:
    async with sit(app) as seat:
        await seat.pilot.resize_terminal(120, 40)
        await seat.pilot.pause()

        assert "LAST HOUR" in seat.lines[3]
        assert len(seat.lines) == 40
        assert seat.top._picture.size == (120, 40)

        await seat.pilot.resize_terminal(20, 5)
        assert len(seat.lines) == 5


async def test_a_long_name_keeps_its_end(app: App, sit: Sit) -> None:
    app.queue("billing.invoices-of-all-customers-in-europe-central")
    await app.close()
    await app.open()

    async with sit(app, size=(60, 24)) as seat:
        assert " …ers-in-europe-central " in seat.text


async def test_a_queue_is_paused_at_once_and_resumed(app: App, sit: Sit) -> None:
    async with sit(app, actor="kana") as seat:
        await seat.press("j")
        paused = await seat.press("p")
        assert paused.splitlines()[-1].strip() == "app:mails is paused."
        assert [row[:12] for row in seat.rows if "mails" in row] == ["‖ app:mails "]
        assert "p pause" in (await seat.press("k")).splitlines()[-1]

        assert "app:mails is resumed." in await seat.press("j", "p")
        assert "‖" not in "".join(seat.rows)


async def test_a_purge_asks_for_the_name_and_says_how_many(app: App, sit: Sit) -> None:
    for number in range(3):
        await app.publish("images", number, HOURLY)

    async with sit(app) as seat:
        asked = await seat.press("P")
        assert "Remove the 3 messages that wait in app:images, forever? Type app:images:" in " ".join(asked.split())
        assert "That is not app:images: nothing was removed." in await seat.press("a", "enter")
        assert (await app._runtime.queue("images").depth()).ready == 3

        await seat.press("P")
        await seat.type("app:images")
        assert "Removed 3 messages from app:images." in await seat.press("enter")
        assert (await app._runtime.queue("images").depth()).ready == 0


async def test_a_purge_asks_again_if_there_are_many_more_by_now(app: App, sit: Sit) -> None:
    await app.publish("images", 0, HOURLY)

    async with sit(app) as seat:
        await seat.press("P")
        await seat.type("app:images")
        for number in range(9):
            await app.publish("images", number, HOURLY)
        asked = await seat.press("enter")

        assert "There are more now. Remove the 10 messages" in asked
        assert (await app._runtime.queue("images").depth()).ready == 10
        await seat.press("escape")
        assert (await app._runtime.queue("images").depth()).ready == 10


async def test_a_project_without_a_queue_says_how_to_declare_one(tmp_path: object, sit: Sit) -> None:
    app = App("memory://")
    async with app, sit(app) as seat:
        assert "No queue is declared yet." in seat.text
        assert 'mails = app.queue("mails")' in seat.text
