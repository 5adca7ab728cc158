"""Take pictures of the desk's pages for people to look at, into build/shots.

.venv/bin/python scripts/desk_shots.py [--docs] [NAME…]

With ``--docs`` the chosen ones are copied into docs/images, as palette pictures (needs ``pngquant``).

Each page is taken light and wide in English, dark and wide in Japanese, and on a phone in both. A name is one of
``tests.support.desk_site``, or ``shop-`` and one of ``SHOP``; without names all pages are taken, of an empty and of a
full installation, of one with many dead letters, and of a shop.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.chromium import chromium, page_of  # noqa: E402
from tests.support.desk_shop import shop  # noqa: E402
from tests.support.desk_site import PAGES, PAGES_OF_FULL, PAGES_OF_LETTERS, QUEUE, empty, full, letters  # noqa: E402

SHOTS = ROOT / "build" / "shots"
DOCS = ROOT / "docs" / "images"
SHOP = {
    "overview": "/",
    "queues": "/queues",
    "history": "/queues/app:payments?tab=history",
    "delayed": "/queues/app:mails?tab=delayed",
    "failed": "/queues/app:reports?tab=retrying",
    "running": "/queues/app:thumbnails?tab=running",
    "topology": "/topology",
    "find": "/find?q=body.order+%3E%3D+19002",
    "message": "{letter}",
    "running-message": "{running}",
    "edit": "{letter}/edit",
    "dry-run": "{letter}/dry-run",
    "workers": "/workers",
    "worker": "{worker}?tab=events",
    "pause": "/confirm?act=pause&kind=queue&id=app:payments",
}
"""Name → path of a page of the shop; ``{letter}``, ``{running}`` and ``{worker}`` are the paths of one of each."""
CHOSEN = {
    "desk-overview": "shop-overview-light-en",
    "desk-overview-ja": "shop-overview-dark-ja",
    "desk-queues": "shop-queues-light-en",
    "desk-history": "shop-history-light-en",
    "desk-delayed": "shop-delayed-light-en",
    "desk-message": "shop-message-light-en",
    "desk-edit": "shop-edit-light-en",
    "desk-dry-run": "shop-dry-run-light-en",
    "desk-topology": "shop-topology-light-en",
    "desk-find": "shop-find-light-en",
    "desk-workers": "shop-workers-light-en",
    "desk-worker": "shop-worker-light-en",
    "desk-pause": "shop-pause-light-en",
    "desk-phone": "shop-queues-phone-dark-en",
    "desk-dead": "letters-groups-light-en",
    "desk-dead-dark": "letters-groups-dark-ja",
    "desk-dead-group": "letters-group-light-en",
    "desk-dead-retry": "letters-confirm-light-en",
}
"""Name in docs/images → picture."""
_MOST_BYTES = 120_000
_WIDE, _PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 812}
WAYS: dict[str, dict[str, Any]] = {
    "light-en": {"color_scheme": "light", "locale": "en-US", "viewport": _WIDE},
    "dark-ja": {"color_scheme": "dark", "locale": "ja", "viewport": _WIDE},
    "phone-light-ja": {"color_scheme": "light", "locale": "ja", "viewport": _PHONE},
    "phone-dark-en": {"color_scheme": "dark", "locale": "en-US", "viewport": _PHONE},
}


def take(browser: Any, address: str, pages: dict[str, str], prefix: str) -> None:
    """Pictures of these pages, in each way."""
    for way, options in WAYS.items():
        with page_of(browser, **options) as (page, _):
            for name, path in pages.items():
                page.goto(address + path)
                page.wait_for_function("document.fonts.status === 'loaded'")
                file = SHOTS / f"{prefix}{name}-{way}.png"
                page.screenshot(path=file, **_extent(page) if prefix == "letters-" else {"full_page": True})


def take_shop(browser: Any, address: str, names: list[str]) -> None:
    """Pictures of the shop."""
    with page_of(browser) as (page, _):
        page.goto(f"{address}/workers")
        worker = str(page.locator("tbody th a").first.get_attribute("href"))
        page.goto(f"{address}/dead/app:payments.dead?by=type&group=ConnectionError")
        letter = str(page.locator("main a.open").first.get_attribute("href")).partition("?")[0]
        page.goto(f"{address}/queues/app:thumbnails?tab=running")
        running = str(page.locator("main a.open").first.get_attribute("href"))
    for way, options in WAYS.items():
        with page_of(browser, **options) as (page, _):
            for name in names:
                page.goto(address + SHOP[name].format(letter=letter, worker=worker, running=running))
                if name == "running-message":
                    page.locator("#stack").wait_for(timeout=60_000)
                if name == "dry-run":
                    page.locator("main form button").click()
                    page.locator("main [role=status]").wait_for(timeout=60_000)
                page.wait_for_function("document.fonts.status === 'loaded'")
                page.screenshot(path=SHOTS / f"shop-{name}-{way}.png", **_extent(page))


def until_rates(address: str) -> None:
    """Wait for the first full minute of the worker, two minutes after its start; its rates are unknown before."""
    for _ in range(300):
        with urlopen(f"{address}/api/v1/overview") as answer:  # noqa: S310 - ours
            totals = json.load(answer)["totals"]
        if totals["in_rate"] and not totals["rates_unknown"]:
            return
        time.sleep(1)
    raise SystemExit("the rates of the shop are not known after five minutes")


def _extent(page: Any) -> dict[str, Any]:
    """As high as the page, but no higher than the window."""
    width, height = page.evaluate("[innerWidth, Math.min(innerHeight, document.body.getBoundingClientRect().bottom)]")
    return {"clip": {"x": 0, "y": 0, "width": width, "height": math.ceil(height)}}


def message_of(browser: Any, address: str, queue: str) -> str:
    """The path of the first message of a queue's list."""
    with page_of(browser) as (page, _):
        page.goto(f"{address}/queues/{queue}")
        return str(page.locator("main a.open").first.get_attribute("href"))


def choose() -> None:
    """Copy the chosen pictures into the documentation."""
    DOCS.mkdir(exist_ok=True)
    for name, shot in CHOSEN.items():
        file = DOCS / f"{name}.png"
        command = ["pngquant", "--force", "--strip", "--output", str(file), "64", str(SHOTS / f"{shot}.png")]
        subprocess.run(command, check=True)  # noqa: S603 - its arguments are ours
        if file.stat().st_size > _MOST_BYTES:
            raise SystemExit(f"{file.relative_to(ROOT)} has {file.stat().st_size:,} bytes; {_MOST_BYTES:,} are allowed")


def main(names: list[str], *, for_docs: bool) -> None:
    """Take the named pages, or all."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    with chromium() as browser, tempfile.TemporaryDirectory() as folder:
        for each in ("empty", "full", "letters", "shop"):
            (Path(folder) / each).mkdir()
        of_shop = [name for name in SHOP if not names or f"shop-{name}" in names]
        if of_shop:
            with shop(Path(folder) / "shop") as address:
                if for_docs:
                    until_rates(address)
                take_shop(browser, address, of_shop)
        pages = {name: path for name, path in PAGES_OF_LETTERS.items() if not names or f"letters-{name}" in names}
        if pages:
            with letters(Path(folder) / "letters") as address:
                take(browser, address, pages, "letters-")
        if names and all(name.startswith(("letters-", "shop-")) for name in names):
            if for_docs:
                choose()
            return
        with empty(Path(folder) / "empty") as address:
            take(browser, address, {name: path for name, path in PAGES.items() if not names}, "empty-")
        with full(Path(folder) / "full") as address:
            pages = {
                **PAGES_OF_FULL,
                "message": message_of(browser, address, QUEUE),
                "message-dead": message_of(browser, address, "app:mails.dead"),
            }
            take(browser, address, {name: path for name, path in pages.items() if not names or name in names}, "")
    print(f"{len(list(SHOTS.glob('*.png')))} pictures in {SHOTS.relative_to(ROOT)}")
    if for_docs:
        choose()


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name != "--docs"], for_docs="--docs" in sys.argv[1:])
