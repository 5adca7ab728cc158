"""The desk in a real browser: every page, empty and full, wide and narrow, light and dark, and its script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.chromium import chromium, page_of
from tests.support.desk_site import PAGES, PAGES_OF_FULL, PURGED, QUEUE, empty, full

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e

NARROW, WIDE = {"width": 375, "height": 812}, {"width": 1280, "height": 900}
EXPECTED = ("404 (Not Found)", "403 (Forbidden)")
"""What a browser says on its console of a page that is not there."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def full_desk(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with full(tmp_path_factory.mktemp("full")) as address:
        yield address


@pytest.fixture(scope="module")
def empty_desk(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty(tmp_path_factory.mktemp("empty")) as address:
        yield address


def look(page: Page, address: str) -> None:
    """Open a page, and hold that nothing scrolls sideways and nothing from outside is loaded."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 0, f"{address} is {width} px too wide"
    assert page.locator("h1").count() == 1
    origin = address.partition("//")[2].partition("/")[0]
    assert all(origin in url for url in asked), asked


def check_pages(browser: Browser, desk: str, pages: dict[str, str], **options: Any) -> None:
    with page_of(browser, **options) as (page, said):
        for path in pages.values():
            look(page, desk + path)
        assert [text for text in said if not text.endswith(EXPECTED)] == []
        # A body or header that ran as a script would have opened one.
        assert not page.evaluate("window.alerted || false")


@pytest.mark.parametrize("language", ["en-US", "ja"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_page_of_an_empty_installation(browser: Browser, empty_desk: str, size: Any, language: str) -> None:
    check_pages(browser, empty_desk, PAGES, viewport=size, locale=language)


@pytest.mark.parametrize("language", ["en-US", "ja"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_page_with_a_thousand_queues(browser: Browser, full_desk: str, size: Any, language: str) -> None:
    check_pages(browser, full_desk, PAGES_OF_FULL, viewport=size, locale=language)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("installation", ["empty", "full"])
def test_no_page_has_barriers(browser: Browser, installation: str, scheme: Any, request: pytest.FixtureRequest) -> None:
    from axe_playwright_python.sync_playwright import Axe

    desk = request.getfixturevalue(f"{installation}_desk")
    pages = PAGES if installation == "empty" else PAGES_OF_FULL
    # The policy of the page would refuse the script that looks for barriers.
    with page_of(browser, color_scheme=scheme, viewport=WIDE, bypass_csp=True) as (page, _):
        found = {}
        for name, path in pages.items():
            page.goto(desk + path)
            results = Axe().run(page)
            if results.violations_count:
                found[name] = [(one["id"], one["nodes"][0]["html"][:200]) for one in results.response["violations"]]
        assert found == {}


def test_each_message_of_a_hostile_queue_is_text(browser: Browser, full_desk: str) -> None:
    with page_of(browser, viewport=WIDE) as (page, said):
        for queue in (QUEUE, "app:mails.dead", "app:reports?tab=retrying"):
            page.goto(f"{full_desk}/queues/{queue}")
            links = [each.get_attribute("href") for each in page.locator("a.open").all()[:9]]
            assert links
            for link in links:
                look(page, f"{full_desk}{link}")
        assert said == []


def test_a_page_follows_what_happens_without_being_loaded_again(browser: Browser, full_desk: str) -> None:
    with page_of(browser, viewport=WIDE) as (page, said):
        page.goto(f"{full_desk}/queues?q=tenant-0001")
        page.evaluate("window.mark = 1")
        row = page.locator('[id="q-app:tenant-0001.invoices-and-receipts"]')
        row.locator("a.open").focus()
        with page_of(browser) as (other, _):
            other.goto(f"{full_desk}/confirm?act=pause&kind=queue&id=app:tenant-0001.invoices-and-receipts")
            other.locator("main button").click()

        row.locator("text=paused until").wait_for(timeout=30_000)

        assert page.evaluate("window.mark") == 1
        assert page.url.endswith("?q=tenant-0001")
        assert page.evaluate("document.activeElement.className") == "open"
        assert page.locator("#live").inner_text() == "live"
        assert said == []


def test_a_desk_that_stands_still_is_not_live(browser: Browser, empty_desk: str) -> None:
    with page_of(browser, viewport=WIDE) as (page, said):
        streams: list[object] = []

        def hold(route: object) -> None:  # the connection stays, and nothing comes
            streams.append(route)

        page.clock.install()
        page.route("**/events", hold)
        page.goto(f"{empty_desk}/queues")
        page.clock.run_for(15_000)
        assert page.locator("#live").inner_text() == ""

        page.clock.run_for(15_000)

        assert page.locator("#live").inner_text() == "reconnecting"
        while len(streams) < 2:  # the request is on its way
            page.evaluate("0")
        assert said == []


def test_the_page_of_a_message_that_has_gone_is_live(browser: Browser, full_desk: str) -> None:
    with page_of(browser, viewport=WIDE) as (page, _):

        def is_refresh(answer: Any) -> bool:
            return bool(answer.status == 404 and answer.request.resource_type == "fetch")

        with page.expect_response(is_refresh):
            page.goto(f"{full_desk}/messages/{QUEUE}/no-such-message")
        with page.expect_response(is_refresh):  # by then the script has seen the first one
            pass
        assert page.locator("#live").inner_text() == "live"


def test_a_selection_by_keys_is_paused_and_resumed(browser: Browser, full_desk: str) -> None:
    with page_of(browser, viewport=WIDE) as (page, said):
        page.goto(f"{full_desk}/queues?q=tenant-0007")
        page.keyboard.press("j")
        page.keyboard.press("x")
        assert page.locator("[data-count]").inner_text() == "1 selected"
        page.locator("button[value=pause]").click()
        page.locator("main button").click()
        page.locator("text=Paused 1 queue.").or_(page.locator("text=is paused.")).first.wait_for()
        page.keyboard.press("A")
        page.locator("button[value=resume]").click()
        page.locator("main button").click()
        page.locator(".said").wait_for()
        assert page.locator("main >> text=paused until").count() == 0
        assert said == []


def test_the_worker_and_its_flight_recorder(browser: Browser, full_desk: str) -> None:
    with page_of(browser, viewport=NARROW, locale="ja", color_scheme="dark") as (page, said):
        page.goto(f"{full_desk}/workers")
        link = page.locator("main a.open").first.get_attribute("href")
        for path in (f"{link}", f"{link}?tab=events"):
            look(page, full_desk + path)
        assert page.locator("tbody tr").count() > 10
        assert said == []


def test_a_box_of_the_topology_opens_its_queue_by_key(browser: Browser, full_desk: str) -> None:
    with page_of(browser, viewport=WIDE) as (page, said):
        page.goto(f"{full_desk}/topology?q=reports")
        page.locator("svg.topology a.queue").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/queues/app:reports")
        assert said == []


def test_keys(browser: Browser, full_desk: str) -> None:
    with page_of(browser, viewport=WIDE) as (page, said):
        page.goto(full_desk + "/")
        page.keyboard.press("2")
        page.wait_for_url("**/queues")
        page.keyboard.press("/")
        page.keyboard.type("tenant-0002")
        page.keyboard.press("Enter")
        page.wait_for_url("**/queues?q=tenant-0002")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/queues/app:tenant-0002.*")
        page.keyboard.press("?")
        assert page.locator("dialog h2").inner_text() == "Keys"
        page.keyboard.press("Escape")
        assert not page.locator("dialog").is_visible()
        page.keyboard.press("r")
        page.locator("#live", has_text="refresh paused").wait_for()
        page.keyboard.press("r")
        page.locator("#live", has_text=re.compile("^live$")).wait_for()
        page.keyboard.press("t")
        page.locator('html[data-theme="light"]').wait_for()
        assert said == []


def test_an_act_is_asked_about_in_a_dialog_that_returns_the_focus(browser: Browser, full_desk: str) -> None:
    with page_of(browser, viewport=WIDE) as (page, said):
        page.goto(f"{full_desk}/queues/app:tenant-0003.invoices-and-receipts")
        button = page.locator("a.act", has_text="Purge")
        button.click()
        page.locator("dialog[open]").wait_for()
        assert page.evaluate("document.activeElement.name") == "name"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.textContent").startswith("Purge")

        page.locator("a.act", has_text="Pause").first.click()
        page.locator("dialog input[name=reason]").fill("<b>maintenance</b>")
        page.locator("dialog button").click()

        page.locator(".said", has_text="is paused.").wait_for()
        assert "<b>maintenance</b>" in page.locator("main").inner_text()
        assert said == []


def test_everything_works_without_a_script(browser: Browser, full_desk: str) -> None:
    with page_of(browser, viewport=NARROW, java_script_enabled=False) as (page, _):
        page.goto(f"{full_desk}/queues/{PURGED}")
        page.locator("a.act", has_text="Purge").click()
        page.locator("input[name=name]").fill(PURGED)
        page.locator("main button").click()
        assert re.fullmatch(r"Removed 60 messages from \S+\.", page.locator(".said").inner_text())


def test_a_script_in_the_page_would_not_run(browser: Browser, full_desk: str) -> None:
    with page_of(browser) as (page, said):
        page.goto(full_desk + "/")
        for attempt in (
            "document.body.innerHTML = '<b>x</b>'",
            "document.body.setAttribute('onclick', 'window.alerted = 1')",
            "document.head.append(Object.assign(document.createElement('script'), {text: 'window.alerted = 1'}))",
        ):
            with pytest.raises(Exception, match="Trusted"):
                page.evaluate(attempt)
        page.evaluate("""() => { const one = document.createElement("p"); one.setAttribute("style", "color: red");
                                 document.body.append(one); }""")
        page.wait_for_function("performance.now() > 0")
        assert not page.evaluate("window.alerted || false")
        assert any("Content Security Policy" in text for text in said)


def test_a_page_is_small(browser: Browser, full_desk: str) -> None:
    """Style within 24 KB and script within 12 KB, a page of fifty queues within 60 KB."""
    root = Path(__file__).parents[2] / "src" / "tasuki" / "desk" / "presentation" / "static"
    assert all(file.stat().st_size <= {".css": 24_000}.get(file.suffix, 12_000) for file in root.iterdir())
    with page_of(browser) as (page, _):
        for path in PAGES_OF_FULL.values():
            answer = page.request.get(full_desk + path, headers={"accept-encoding": "identity"})
            assert len(answer.body()) <= 60_000, path
