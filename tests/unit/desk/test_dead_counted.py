"""Groups that the driver counts: all letters, though the desk reads only the newest."""

from __future__ import annotations

import re

import pytest

from tasuki import App
from tasuki.contracts.driver import Causes
from tasuki.desk.dead import library, windows
from tasuki.desk.pages import letters
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerTimeoutError
from tasuki.message import Message
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.letters import bury

pytestmark = pytest.mark.anyio

A, B = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
DEAD = "/dead/app:dead"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The desk reads sixty letters of a queue at most."""
    monkeypatch.setattr(library, "NEWEST", 60)
    monkeypatch.setattr(library, "_MOST_OF_VIEW", 60)
    monkeypatch.setattr(library, "_FEWEST", 60)
    monkeypatch.setattr(windows, "NEWEST", 60)
    monkeypatch.setattr(letters, "NEWEST", 60)


async def bury_both(app: App) -> None:
    await bury(app, *(f"a{number:03}" for number in range(130)), x_cause=A, error="KeyError: 'first'")
    await bury(app, *(f"b{number:03}" for number in range(70)), x_cause=B, error="ValueError: 2")


@pytest.mark.usefixtures("few")
async def test_groups_count_letters_that_nobody_reads(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury_both(app)

    async def peek(self: MemoryDriver, queue: str, limit: int, after: int = 0) -> list[Message]:
        raise AssertionError("letters are read")

    monkeypatch.setattr(MemoryDriver, "peek", peek)
    text = await browse().text("/dead")
    assert "Dead letters: 200, in queues: 1, in groups: 2. (all were read)" in text
    assert re.search(r"130 .*? app:mails app:dead KeyError: 'first' .*? Retry 130… 70 .*? ValueError: 2", text), text


@pytest.mark.usefixtures("few")
async def test_a_group_lists_its_own_newest_letters(app: App, browse: MakeBrowser) -> None:
    await bury_both(app)
    browser = browse()
    group = f"{DEAD}?by=cause&group={A}"
    text = await browser.text(group)
    assert "130 dead letters. (all counted; the newest 60 can be listed)" in text
    page = await browser.get(group)
    assert re.findall(r'id="m-(\w+)"', page.text)[:2] == ["a129", "a128"]
    after = re.search(r'rel="next" href="[^"]*after=([^"&]+)', page.text)
    assert after is not None
    second = await browser.get(f"{group}&after={after[1]}")
    assert re.findall(r'id="m-(\w+)"', second.text) == [f"a{number:03}" for number in range(79, 69, -1)]
    where = await browser.text(f"{DEAD}?where=cause == '{B}'")
    assert "70 dead letters. (all counted; the newest 60 can be listed)" in where
    confirm = await browser.text(f"{DEAD}/confirm?act=redrive&by=cause&group={A}")
    assert "130" in confirm


@pytest.mark.usefixtures("few")
async def test_letters_that_do_not_say_their_cause_are_counted_as_far_as_they_are_read(
    app: App, browse: MakeBrowser
) -> None:
    await bury(app, *(f"o{number:03}" for number in range(50)), error="OSError: old")
    await bury_both(app)
    browser = browse()
    assert "Dead letters: 200, in queues: 1, in groups: 2. (of the newest 60 of each queue)" in await browser.text(
        "/dead"
    )
    await bury(app, *(f"p{number:03}" for number in range(5)), error="OSError: old")
    browser.desk.tools.library.forget("app:dead")
    text = await browser.text("/dead")
    assert "Dead letters: 205, in queues: 1, in groups: 3. (of the newest 60 of each queue)" in text
    # A group may have letters that do not say so: then the newest letters of the queue are looked at.
    assert "55 dead letters. (of the newest 60 of each queue)" in await browser.text(f"{DEAD}?by=cause&group={B}")


async def test_few_letters_of_both_kinds_are_all_counted(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1", "2", error="OSError: old")
    browser = browse()
    page = (await browser.get("/dead")).text
    derived = re.search(r"group=([0-9a-f]{12})", page)
    assert derived is not None
    await bury(app, "3", x_cause=derived[1], error="OSError: new")
    browser.desk.tools.library.forget("app:dead")
    assert "Dead letters: 3, in queues: 1, in groups: 1. (all were read)" in await browser.text("/dead")
    assert "3 dead letters. (all were read)" in await browser.text(f"{DEAD}?by=cause&group={derived[1]}")


@pytest.mark.usefixtures("few")
async def test_letters_are_read_where_counting_takes_too_long(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(self: MemoryDriver, queue: str, most: int, also: object = ()) -> Causes:
        raise BrokerTimeoutError("no answer in time")

    await bury_both(app)
    monkeypatch.setattr(MemoryDriver, "causes", late)
    browser = browse()
    assert "Dead letters: 60, in queues: 1, in groups: 1. (of the newest 60" in await browser.text("/dead")
    assert "60 dead letters. (of the newest 60" in await browser.text(f"{DEAD}?by=cause&group={B}")


@pytest.mark.usefixtures("few")
async def test_an_export_of_a_group_has_its_newest_letters(app: App, browse: MakeBrowser) -> None:
    await bury_both(app)
    answer = await browse().get(f"{DEAD}/export?by=cause&group={A}")
    lines = re.findall(r'"id": "(a\d+)"', answer.text)
    assert lines[:2] == ["a070", "a071"]
    assert len(lines) == 60
