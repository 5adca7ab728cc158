"""Take pictures of ``tasuki top`` for people to look at, into build/shots; the first one is the one of docs/images.

.venv/bin/python scripts/top_shots.py

They are SVG, without the names of font hosts: a browser shows them in its own fixed-width font.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tasuki import App, Context  # noqa: E402
from tasuki.app.app import reader_of  # noqa: E402
from tasuki.desk.security.sessions import ActorSession  # noqa: E402
from tasuki.desk.site import Site  # noqa: E402
from tasuki.desk.viewer import Viewer  # noqa: E402
from tasuki.errors import StopTimeoutError  # noqa: E402
from tasuki.top.frame.cells import ASCII, UNICODE  # noqa: E402
from tasuki.top.frame.scene import Scene  # noqa: E402
from tasuki.top.screen import Top  # noqa: E402

SHOTS = ROOT / "build" / "shots"
KEPT = ROOT / "docs" / "images" / "top.svg"
_WARM = 12.0
"""Seconds after which rates are known."""
SHOWS: dict[str, tuple[int, int, list[str]]] = {
    "top": (80, 24, ["1"]),
    "top-wide": (150, 30, ["1"]),
    "top-narrow": (60, 20, ["1"]),
    "top-messages": (100, 24, ["1", "j", "enter"]),
    "top-dead": (100, 24, ["2"]),
    "top-letters": (120, 24, ["2", "enter"]),
    "top-message": (80, 34, ["2", "enter", "enter"]),
    "top-workers": (100, 24, ["3", "enter"]),
    "top-schedules": (100, 24, ["4"]),
    "top-batches": (120, 24, ["5"]),
    "top-help": (80, 30, ["1", "question_mark"]),
    "top-ask": (80, 24, ["2", "D"]),
}
"""Name → columns, lines, keys."""


def shop() -> App:
    """An app with queues in every state."""
    app = App("memory://")
    mail = app.queue("mail", dead_letter={"queue": "mail.dead", "max_attempts": 1})
    images, invoices = app.queue("images"), app.queue("billing.invoices-eu")
    app.queue("reports"), app.queue("ticks")

    @mail.consumer(name="sender", concurrency=4)
    async def send(body: dict[str, Any]) -> None:
        await asyncio.sleep(0.1)
        if body["n"] % 9 == 1:
            raise ConnectionError(f"connection to 10.0.0.{body['n'] % 250}:5432 refused")
        if body["n"] % 31 == 2:
            raise ValueError(f"no such mailbox: 宛先{body['n']}@example.com")

    @images.consumer(name="resizer", concurrency=10)
    async def resize(body: dict[str, Any], context: Context) -> None:
        await asyncio.sleep(3600 if body["n"] < 7 else 0.05)

    @invoices.consumer(name="charger", concurrency=2)
    async def charge(body: dict[str, Any]) -> None:
        await asyncio.sleep(0.4)

    @app.every("1h", queue="ticks", name="hourly")
    async def hourly() -> None: ...

    @app.cron("0 9 * * mon-fri", tz="Asia/Tokyo", queue="ticks", name="weekdays")
    async def weekdays() -> None: ...

    return app


async def fill(app: App) -> None:
    """Publish for as long as it is not cancelled."""
    for number in range(60):
        await app.publish("reports", {"n": number, "title": "Umsätze"})
    for number in range(310):
        await app.publish("images", {"n": 100 + number}, delay="1h")
    number = 0
    while True:
        await app.publish("mail", {"n": number, "to": f"user{number}@example.com"})
        await app.publish("images", {"n": number})
        if number % 10 == 0:
            await app.publish("billing.invoices-eu", {"n": number})
        number += 1
        await asyncio.sleep(0.02)


async def take(app: App, name: str, size: tuple[int, int], keys: list[str], *, is_ascii: bool = False) -> None:
    """One picture."""
    session = ActorSession("top", "kana@laptop", "", "terminal")
    reading = Viewer(Site(reader_of(app), app, opens=True), session, app._runtime.clock)
    top = Top(reading, Scene("shop", "memory", ASCII if is_ascii else UNICODE, []), app._runtime.clock)
    async with top.run_test(size=size) as pilot:
        await asyncio.sleep(_WARM if name in ("top", "top-wide", "top-narrow") else 1)
        for key in keys:
            await pilot.press(key)
            await asyncio.sleep(0.6)
        await pilot.pause()
        picture = top.export_screenshot()
    await reading.close()
    picture = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    (SHOTS / f"{name}.svg").write_text(re.sub(r"[ \t]+$", "", picture, flags=re.MULTILINE))


async def main() -> None:
    """Take all."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    app = shop()
    async with app.worker():
        filling = asyncio.create_task(fill(app))
        for name, (width, height, keys) in SHOWS.items():
            await take(app, name, (width, height), keys)
        await take(app, "top-ascii", (80, 24), ["2"], is_ascii=True)
        filling.cancel()
        with suppress(StopTimeoutError):  # some handlers would run for an hour
            await app.close(timeout="0s")
    KEPT.parent.mkdir(exist_ok=True)
    shutil.copy(SHOTS / "top.svg", KEPT)


if __name__ == "__main__":
    asyncio.run(main())
