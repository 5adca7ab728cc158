"""The eleven things that operators ask a desk for (docs/how-to/desk.md): clicks from the overview for each one.

A bound is the number of clicks that a task took when it was last looked at: a change that makes one longer fails here.
Typing is no click; neither is the key that sends a form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.chromium import chromium, page_of
from tests.support.desk_shop import shop

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.e2e

WIDE = {"width": 1280, "height": 900}
REFUSED = "ConnectionError: connection to bank.example:443 refused"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def desk(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with shop(tmp_path_factory.mktemp("shop")) as address:
        yield address


class Hand:
    """Clicks, and counts."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0

    def click(self, where: Locator) -> None:
        where.first.click()
        self.clicks += 1

    def link(self, name: str) -> Locator:
        """A link or button of the page itself, or of its dialog."""
        return self.page.locator(f"dialog a:has-text('{name}'), main a:has-text('{name}')")

    def menu(self, name: str) -> Locator:
        return self.page.locator(f"nav a:has-text('{name}')")

    def sees(self, text: str) -> None:
        self.page.locator(f"main:has-text({text!r}), dialog:has-text({text!r})").first.wait_for(timeout=30_000)


def web_ui(hand: Hand) -> None:
    hand.page.locator("main h1").first.wait_for()


def live_workers(hand: Hand) -> None:
    hand.click(hand.menu("Workers"))
    hand.click(hand.page.locator("main tbody a.open"))
    hand.sees("app:charging")


def history(hand: Hand) -> None:
    hand.click(hand.menu("Queues"))
    hand.click(hand.page.locator("main a.open:text-is('app:payments')"))
    hand.click(hand.page.locator("nav.tabs a:has-text('History')"))
    hand.sees("p99")


def health(hand: Hand) -> None:
    hand.page.locator("main .lead").first.wait_for()


def pause(hand: Hand) -> None:
    hand.click(hand.menu("Queues"))
    hand.click(hand.page.locator("main a.open:text-is('app:mails')"))
    hand.click(hand.link("Pause…"))
    hand.click(hand.page.locator("dialog button:has-text('Pause')"))
    hand.sees("paused until it is resumed")
    hand.page.goto(f"{hand.page.url.partition('/queues')[0]}/confirm?act=resume&kind=queue&id=app:mails")
    hand.page.locator("main button").click()  # as it was, for the tasks that follow


def one_message(hand: Hand) -> None:
    hand.click(hand.link("app:payments.dead:"))
    hand.click(hand.page.locator("main tr[id^='m-'] a.open"))
    hand.sees("bank.py")


def edit(hand: Hand) -> None:
    one_message(hand)
    hand.click(hand.link("Edit and retry"))
    hand.click(hand.page.locator("main button[value=send]"))
    hand.sees("An edit of letter")


def cause_of_a_failing_queue(hand: Hand) -> None:
    hand.click(hand.link("app:payments.dead:"))
    hand.sees(REFUSED)


def letters_of_a_cause(hand: Hand) -> None:
    hand.click(hand.link(REFUSED))
    hand.sees("dead letters.")
    assert "group=" in hand.page.url


def retry_of_a_cause(hand: Hand) -> None:
    row = hand.page.locator(f"main tr:has-text('{REFUSED}')")
    hand.click(row.locator("a.act:has-text('Retry')"))
    dialog = hand.page.locator("dialog")
    dialog.get_by_text(REFUSED).first.wait_for()  # a dialog opens before its text is here
    dialog.locator("input[name=name]").fill("app:payments.dead")
    hand.click(dialog.locator("button:has-text('Retry')"))
    hand.sees(REFUSED)
    assert "/batches/" in hand.page.url


def due_times(hand: Hand) -> None:
    hand.click(hand.menu("Queues"))
    hand.click(hand.page.locator("main a.open:text-is('app:mails')"))
    hand.click(hand.page.locator("nav.tabs a:has-text('Delayed')"))
    hand.sees("reminder")


def search(hand: Hand) -> None:
    hand.click(hand.menu("Find"))
    hand.page.locator("main input[name=q]").fill("body.order == 19003")
    hand.page.keyboard.press("Enter")
    hand.sees("mika3@example.com")


def search_by_id(hand: Hand) -> None:
    """From the box of the header."""
    row = hand.page.locator("main tr[id^='run-']:has-text('app:thumbnails')")
    id = str(row.first.get_attribute("id")).removeprefix("run-")
    hand.page.locator("header input[type=search]").fill(id)
    hand.page.keyboard.press("Enter")
    hand.sees("It runs now:")
    assert "/find?" in hand.page.url


def messages_that_wait(hand: Hand) -> None:
    hand.click(hand.menu("Queues"))
    hand.sees("Oldest")


TASKS: dict[str, tuple[int, Callable[[Hand], None]]] = {
    "a web UI": (0, web_ui),
    "live workers": (2, live_workers),
    "rates and history": (3, history),
    "metrics and health": (0, health),
    "pause": (4, pause),
    "one message": (2, one_message),
    "edit": (4, edit),
    "grouping: the cause of a failing queue": (1, cause_of_a_failing_queue),
    "grouping: the letters of a cause": (1, letters_of_a_cause),
    "grouping: retry of a cause": (2, retry_of_a_cause),
    "due times": (3, due_times),
    "search": (1, search),
    "search: an id": (0, search_by_id),
    "an alert when messages wait": (1, messages_that_wait),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_takes_no_more_clicks_than_before(browser: Browser, desk: str, task: str) -> None:
    most, do = TASKS[task]
    with page_of(browser, viewport=WIDE) as (page, said):
        page.goto(desk)
        hand = Hand(page)
        do(hand)
        assert hand.clicks <= most
        assert said == []


def test_each_thing_that_operators_ask_for_is_a_task() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/desk.md").read_text("utf-8")
    table = page.partition("## What operators ask for")[2].partition("\n## ")[0]
    asked = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(asked) == 11
    assert {task.partition(":")[0] for task in TASKS} == set(asked)
