"""Dead letters in a real browser: selected by keys or without a script, acted upon, followed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.chromium import chromium, page_of
from tests.support.desk_site import letters

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e

DEAD = "/dead/app:billing.dead"
NARROW, WIDE = {"width": 375, "height": 812}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def desk(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with letters(tmp_path_factory.mktemp("letters")) as address:
        yield address


def fits(page: Page) -> bool:
    width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return bool(width <= 0)


def test_letters_are_selected_by_keys_and_the_buttons_say_how_many(browser: Browser, desk: str) -> None:
    with page_of(browser, viewport=WIDE) as (page, said):
        page.goto(f"{desk}{DEAD}?by=type&group=ConnectError")  # without a group the keys go through the groups first
        retry = page.locator("button[value=redrive]")
        assert retry.is_disabled()
        page.keyboard.press("j")
        page.keyboard.press("x")
        page.keyboard.press("j")
        page.keyboard.press("x")
        assert retry.inner_text() == "Retry… 2"
        page.keyboard.press("x")
        assert retry.inner_text() == "Retry… 1"
        page.keyboard.press("A")
        assert retry.inner_text() == "Retry… 50"
        page.keyboard.press("A")
        assert retry.is_disabled()
        assert said == []


def test_a_selection_is_kept_over_a_refresh(browser: Browser, desk: str) -> None:
    with page_of(browser, viewport=WIDE) as (page, said):
        page.goto(desk + DEAD)
        page.locator("input[name=ids]").nth(1).check()
        chosen = page.locator("input[name=ids]").nth(1).get_attribute("value")
        for _ in range(2):  # when the second answer comes, the first has been shown
            with page.expect_response(lambda answer: answer.request.headers.get("x-fragment") == "1"):
                page.keyboard.press("r")
                page.keyboard.press("r")
        assert page.locator("button[value=redrive]").inner_text() == "Retry… 1"
        assert page.locator("input[name=ids]:checked").get_attribute("value") == chosen
        assert said == []


def test_selected_letters_are_moved_and_the_way_is_followed_without_loading_the_page_again(
    browser: Browser, desk: str
) -> None:
    with page_of(browser, viewport=WIDE) as (page, said):
        page.goto(desk + DEAD)
        for place in range(3):
            page.locator("input[name=ids]").nth(place).check()
        page.locator("button[value=move]").click()
        assert page.locator("main button").inner_text() == "Move 3 letters"
        page.locator("input[name=to]").fill("app:parked")
        page.locator("input[name=rate]").fill("1")
        page.locator("main button").click()
        page.wait_for_url("**/batches/*")
        assert page.locator(".said").inner_text() == "A batch has begun on app:billing.dead."
        page.locator("h1 .tag", has_text=re.compile("^done$")).wait_for(timeout=30_000)
        page.locator("button[value=undo]").click()
        page.locator("h1 .tag", has_text=re.compile("^undone$")).wait_for(timeout=30_000)
        assert "Undone: 3 of 3" in page.locator("main").inner_text()
        assert said == []


def test_an_act_on_a_filter_is_asked_about_in_a_dialog(browser: Browser, desk: str) -> None:
    with page_of(browser, viewport=WIDE) as (page, said):
        page.goto(f"{desk}/dead?by=type")
        page.locator("a.act", has_text="Retry").first.click()
        page.locator("dialog[open] input[name=name]").fill("wrong")
        page.locator("dialog button").click()
        assert "nothing was done" in page.locator("[role=alert]").inner_text()
        assert [text for text in said if "400 (Bad Request)" not in text] == []


def test_it_works_without_a_script_on_a_phone(browser: Browser, desk: str) -> None:
    with page_of(browser, viewport=NARROW, java_script_enabled=False, locale="ja") as (page, _):
        page.goto(desk + "/dead")
        page.locator("a.open", has_text="ConnectError").first.click()
        page.locator("input[name=ids]").first.check()
        page.locator("button[value=remove]").click()
        page.locator("input[name=fast]").check()
        page.locator("main button").click()
        assert "/batches/" in page.url
        assert "一括処理を始めました" in page.locator(".said").inner_text()


@pytest.mark.parametrize("language", ["en-US", "ja"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_of_dead_letters_has_barriers(browser: Browser, desk: str, scheme: str, language: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with page_of(browser, color_scheme=scheme, locale=language, viewport=NARROW, bypass_csp=True) as (page, _):
        found = {}
        for path in (
            "/dead",
            DEAD,
            f"{DEAD}?by=type&group=none",
            f"{DEAD}/confirm?act=move",
            "/dead?where=age <",
            "batch",
        ):
            page.goto(desk + "/dead" if path == "batch" else desk + path)
            if path == "batch":
                page.locator("#batches + ul a").first.click()
            results = Axe().run(page)
            if results.violations_count:
                found[path] = [(one["id"], one["nodes"][0]["html"][:200]) for one in results.response["violations"]]
            assert fits(page), path
        assert found == {}


def test_a_download_is_json_lines(browser: Browser, desk: str) -> None:
    with page_of(browser, viewport=WIDE) as (page, said):
        page.goto(f"{desk}{DEAD}?where=attempts == 2")
        with page.expect_download() as download:
            page.locator("a[download]").click()
        lines = download.value.path().read_text().splitlines()
        assert lines
        assert all(json.loads(line)["attempts"] == 2 for line in lines)
        assert said == []
