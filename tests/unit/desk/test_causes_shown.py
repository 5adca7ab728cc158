"""Causes in words: on the overview, above the letters of each queue, in questions, batches and the audit."""

from __future__ import annotations

import re

import pytest

from tasuki import App
from tasuki.app.state.auditing import acts_of
from tasuki.desk.pages import lists
from tasuki.queues.dead.cause import cause_of
from tests.unit.desk.browser import form_of, words
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.letters import bury

pytestmark = pytest.mark.anyio

DEAD = "/dead/app:dead"
REFUSED = "ConnectError: connection to 10.0.0.7:5432 refused"
CAUSE = cause_of("max_attempts", "ConnectError", "", REFUSED)


async def buried(app: App) -> None:
    """Letters of four causes, as a worker of this version leaves them."""
    for number, (error, ids) in enumerate(
        ((REFUSED, "abcde"), ("ValueError: no such table", "fgh"), ("KeyError: 'street'", "ij"), ("OSError: gone", "k"))
    ):
        kind = error.partition(":")[0]
        cause = cause_of("max_attempts", kind, "", error)
        await bury(app, *ids, error=error, x_error_type=kind, x_cause=cause, x_dead_letter_time=1000.0 + number)


async def test_the_overview_shows_the_three_largest_causes(app: App, browse: MakeBrowser) -> None:
    await buried(app)
    browser = browse()
    page = (await browser.get("/")).text
    text = words(page)

    assert text.index(REFUSED) < text.index("ValueError: no such table") < text.index("KeyError: 'street'")
    assert "OSError" not in text
    assert "1 more cause" in text
    links = [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]*)"', page)]
    assert f"{DEAD}?by=cause&group={CAUSE}" in links, "one click to its letters"
    retry = next(link for link in links if "act=redrive" in link and CAUSE in link)
    assert "Retry 5 letters" in words((await browser.get(retry)).text), "and one to the question of its retry"


async def test_the_overview_does_not_wait_for_letters_that_take_long(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await buried(app)
    monkeypatch.setattr(lists, "_PATIENCE", 0.0)
    browser = browse()
    assert "attention." in await browser.text("/")


async def test_the_page_of_a_queue_begins_with_its_groups_and_its_acts(app: App, browse: MakeBrowser) -> None:
    await buried(app)
    browser = browse()
    page = (await browser.get(DEAD)).text
    text = words(page)

    assert text.index("All of this filter: Retry 11…") < text.index(REFUSED) < text.index("Selected:")
    assert page.index('name="act" value="redrive"') < page.index('id="m-k"'), "the acts stand above the letters"
    assert "OSError: gone" in text[: text.index("Selected:")]
    by_type = await browser.text(f"{DEAD}?by=type")
    assert by_type.index("ConnectError: connection") < by_type.index("Selected:")


async def test_the_question_names_a_cause_by_its_words(app: App, browse: MakeBrowser) -> None:
    await buried(app)
    text = await browse().text(f"{DEAD}/confirm?act=redrive&group={CAUSE}")
    assert f"Cause {REFUSED}" in text
    assert CAUSE not in text
    assert "all of the queue" not in text
    every = await browse().text(f"{DEAD}/confirm?act=redrive")
    assert "Where all of the queue" in every


async def test_a_batch_and_the_audit_name_a_cause_by_its_words(app: App, browse: MakeBrowser) -> None:
    await buried(app)
    browser = browse()
    action, fields = form_of((await browser.get(f"{DEAD}/confirm?act=redrive&group={CAUSE}")).text)
    answer = await browser.post(action, fields | {"name": "app:dead", "fast": "1"})
    batch = await app.dead.batches.wait(answer.url.path.rpartition("/")[2])

    assert batch.words == REFUSED
    assert f"Cause: {REFUSED}" in await browser.text(answer.url.path)
    assert REFUSED in await browser.text("/dead"), "among the last batches"
    assert [each.filter for each in await acts_of(app._runtime.live())] == [f'cause:"{REFUSED}"']
    assert f'cause:"{REFUSED}"' in await browser.text("/audit")
    assert CAUSE not in await browser.text("/audit")


async def test_a_group_is_titled_by_its_commonest_text(app: App, browse: MakeBrowser) -> None:
    cause = cause_of("max_attempts", "ValueError", "", "ValueError: no row 1")
    about = {"x_error_type": "ValueError", "x_cause": cause}
    await bury(app, "a", "b", "c", error="ValueError: no row 1", **about)
    await bury(app, "d", error="ValueError: no row 2", **about)
    assert "ValueError: no row 1 and 1 more text" in await browse().text("/dead")


async def test_texts_that_were_not_all_counted_are_told_as_at_least(app: App, browse: MakeBrowser) -> None:
    about = {
        "x_error_type": "ValueError",
        "x_cause": cause_of("max_attempts", "ValueError", "", "ValueError: no row 1"),
    }
    for row in (1, 2, 3):
        await bury(app, *(f"{row}-{n}" for n in range(8)), error=f"ValueError: no row {row}", **about)
    assert "and at least 1 more text" in await browse().text("/dead")
