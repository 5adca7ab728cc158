"""Chromium of the system, driven by Playwright; a test skips where either is missing, and fails with ``CI=true``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.brokers.broker import missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage"]
"""As root, and in a small /dev/shm, it does not start without them."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for the time of the block."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        missing("chromium", "apt-get install chromium fonts-noto-cjk")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright", "pip install playwright")
        raise
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_OPTIONS)
        yield browser
        browser.close()


@contextmanager
def page_of(browser: Browser, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page in its own context, and what it says on its console, errors included."""
    context = browser.new_context(**{"locale": "en-US", "timezone_id": "Asia/Tokyo", **options})
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        yield page, said
    finally:
        context.close()
