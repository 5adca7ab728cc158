"""Edit and retry, dry run and the pages to copy from, in a browser, with and without the script of the desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.chromium import chromium, page_of
from tests.support.desk_site import address_of
from tests.support.ports import free_port
from tests.support.process import run, run_json, start

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.e2e

SHOP = """
from dataclasses import dataclass

from tasuki import App, Context

app = App()
orders = app.queue("orders", dead_letter={"queue": "orders.dead", "max_attempts": 1})
mails = app.queue("mails")
app.entry(
    "admins",
    "security.policy",
    policy={
        "actions": "queue.admin.*",
        "resources": "*",
        "effect": "allow",
        "conditions": [{"field": "actor.id", "operator": "exists"}],
    },
)


@dataclass
class Order:
    n: int
    price: float


@orders.consumer
async def book(order: Order, context: Context) -> None:
    print("<script>window.alerted = 1</script>")
    await context.publish("mails", {"to": "\u202eshop", "password": "hunter2"})
    if order.n == 0:
        raise LookupError("<img src=x onerror=alert(1)> no order")
"""
PAGES = ("", "/edit", "/dry-run", "/test", "/json")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SHOP)
    for number in range(3):
        body = '{"n": 0, "price": 1.5, "note": "<script>alert(1)</script>"}'
        done = run("publish", "orders", body, "--id", f"m-{number}", "--header", "tenant=acme", folder=folder)
        assert done.returncode == 0, done.stderr
    assert run("run", "--until-empty", folder=folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def desk(browser: Browser, folder: Path) -> Iterator[str]:
    port = free_port()
    with start("desk", "shop:app", "--admin-open", "--admin", f"127.0.0.1:{port}", folder=folder):
        yield address_of(port)


@pytest.mark.parametrize("options", [{"java_script_enabled": False}, {}], ids=["without script", "with script"])
def test_a_letter_is_changed_and_sent(browser: Browser, desk: str, folder: Path, options: dict[str, Any]) -> None:
    id = "m-0" if options else "m-1"
    with page_of(browser, viewport={"width": 375, "height": 812}, **options) as (page, said):
        page.goto(f"{desk}/messages/app:orders.dead/{id}")
        page.get_by_role("link", name="Edit and retry").click()
        body = page.locator("textarea[name=body]")
        body.fill(body.input_value().replace("1.5", '"x"'))
        page.get_by_role("button", name="Check and send").click()
        assert "line 3: queue app:orders takes Order: Expected `float`" in page.locator("#body-problem").inner_text()
        assert page.locator("textarea[name=body]").get_attribute("aria-invalid") == "true"
        body = page.locator("textarea[name=body]")
        body.fill(body.input_value().replace('"x"', "1.10"))
        page.get_by_label("tenant", exact=True).fill('"b"')
        page.get_by_role("button", name="Check only").click()
        assert "Nothing was sent yet" in page.locator("main [role=status]").inner_text()
        page.get_by_role("button", name="Check and send").click()
        assert f"Message {id} went to app:orders as " in page.locator(".said").inner_text()
        assert "/messages/app:orders/" in page.url
        assert [text for text in said if "400" not in text] == []
    sent = [each for each in run_json("peek", "orders", folder=folder) if each["headers"]["x_edited_from"] == id]
    assert [each["headers"]["tenant"] for each in sent] == ["b"]
    assert sent[0]["body"]["price"] == 1.1


def test_a_dry_run_shows_what_would_happen_and_does_nothing(browser: Browser, desk: str, folder: Path) -> None:
    before = run_json("info", "mails", folder=folder)["ready"]
    with page_of(browser, viewport={"width": 1280, "height": 900}) as (page, said):
        page.goto(f"{desk}/messages/app:orders.dead/m-2?lang=en")
        page.get_by_role("link", name="Dry run").click()
        assert "really happen" in page.locator("main").inner_text()
        page.get_by_role("button", name="Run it").click()
        page.locator("text=The message would be a dead letter").wait_for(timeout=60_000)
        text = page.locator("main").inner_text()
        assert "LookupError: <img src=x onerror=alert(1)> no order" in text
        assert "queue=app:mails" in text
        assert "hunter2" not in text
        assert "<script>window.alerted = 1</script>" in text
        assert not page.evaluate("window.alerted || false")
        assert said == []
    assert run_json("info", "mails", folder=folder)["ready"] == before
    assert [each["id"] for each in run_json("peek", "orders.dead", folder=folder)][-1:] == ["m-2"]


@pytest.mark.parametrize("language", ["en-US", "ja"])
def test_the_pages_have_no_barriers_and_fit_a_phone(browser: Browser, desk: str, language: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    options: dict[str, Any] = {"viewport": {"width": 375, "height": 812}, "locale": language}
    with page_of(browser, bypass_csp=True, color_scheme="dark", **options) as (page, _):
        found = {}
        for path in PAGES:
            page.goto(f"{desk}/messages/app:orders.dead/m-2{path}")
            assert page.locator("h1").count() == 1
            width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert width <= 0, f"{path} is {width} px too wide"
            results = Axe().run(page)
            if results.violations_count:
                found[path] = [(one["id"], one["nodes"][0]["html"][:200]) for one in results.response["violations"]]
        assert found == {}
