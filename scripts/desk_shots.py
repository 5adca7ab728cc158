"""Take pictures of the desk's pages for people to look at, into build/shots.

.venv/bin/python scripts/desk_shots.py [NAME…]

Each page is taken light and wide in English, dark and wide in Japanese, and on a phone in both. A name is one of
``tests.support.desk_site``; without names all pages are taken, of an empty and of a full installation.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.chromium import chromium, page_of  # noqa: E402
from tests.support.desk_site import PAGES, PAGES_OF_FULL, QUEUE, empty, full  # noqa: E402

SHOTS = ROOT / "build" / "shots"
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
                page.screenshot(path=SHOTS / f"{prefix}{name}-{way}.png", full_page=True)


def message_of(browser: Any, address: str, queue: str) -> str:
    """The path of the first message of a queue's list."""
    with page_of(browser) as (page, _):
        page.goto(f"{address}/queues/{queue}")
        return str(page.locator("main a.open").first.get_attribute("href"))


def main(names: list[str]) -> None:
    """Take the named pages, or all."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    with chromium() as browser, tempfile.TemporaryDirectory() as folder:
        for each in ("empty", "full"):
            (Path(folder) / each).mkdir()
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


if __name__ == "__main__":
    main(sys.argv[1:])
