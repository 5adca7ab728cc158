"""The picture has every entry once, each is a link, and the table says the same."""

from __future__ import annotations

import itertools
import re

import pytest

from tasuki import App
from tasuki.desk.reading.snapshot import QueueRow
from tasuki.desk.topology import QueueLine, picture_of, shortened, width_of
from tests.unit.desk.conftest import MakeBrowser

pytestmark = pytest.mark.anyio


def line(id: str, consumers: int = 1, dead: str = "") -> QueueLine:
    names = [f"{id}-c{number}" for number in range(consumers)]
    return QueueLine(QueueRow(id, "d", None), [], names, {name: ["app:shared"] for name in names}, dead, 0.0)


async def test_every_entry_is_a_link(app: App, browse: MakeBrowser) -> None:
    page = (await browse().get("/topology")).text
    picture = page[page.index('<svg class="topology"') :].partition("</svg>")[0]

    links = re.findall(r'<a href="([^"]*)" class="(\w+)" aria-label="\w+(?: \w+)? (\S+)', picture)
    assert {(kind, id) for _, kind, id in links} == {
        ("queue", "app:mails"),
        ("queue", "app:images"),
        ("schedule", "app:hourly"),
        ("consumer", "app:sender"),
        ("function", "app:send"),
        ("consumer", "app:images.workers"),
        ("function", "app:images.task.hourly"),
        ("dead", "app:dead"),
    }
    assert picture.count("<path") == 6
    table = page[page.index("<tbody>") :]
    assert all(name in table for name in ("app:mails", "app:images", "app:hourly", "app:sender", "app:send"))


async def test_it_is_filtered(browse: MakeBrowser) -> None:
    browser = browse()
    text = await browser.text("/topology?q=SENDER")
    assert "app:mails" in text
    assert "app:images" not in text
    assert "No queue matches" in await browser.text("/topology?q=<script>")


def test_boxes_do_not_lie_on_each_other() -> None:
    picture = picture_of([line("a", 3, "dead"), line("b", 0, "dead"), line("c", 1, "other")])
    places = [(box.x, box.y) for box in picture.boxes]

    assert len(places) == len(set(places))
    for x in {place[0] for place in places}:
        column = sorted(y for left, y in places if left == x)
        assert all(lower - upper >= 40 for upper, lower in itertools.pairwise(column))
    assert all(box.y + 36 <= picture.height for box in picture.boxes)
    assert sum(box.id == "app:shared" for box in picture.boxes) == 1
    assert sum(curve.is_aside for curve in picture.curves) == 3


def test_the_way_of_dead_letters_is_within_the_picture() -> None:
    picture = picture_of([line("a", 1, "dead")])
    [aside] = [curve for curve in picture.curves if curve.is_aside]
    lowest = max(int(number) for number in re.findall(r"\d+ (\d+)", aside.d))

    assert lowest > 36
    assert lowest + width_of(1e12) / 2 <= picture.height


def test_a_picture_has_bounds() -> None:
    assert len(picture_of([line("a", 5000)]).boxes) == 22


def test_an_empty_picture() -> None:
    assert picture_of([]).boxes == []


def test_the_end_of_a_long_name_is_shown() -> None:
    assert shortened("app:tenant-0001.invoices", 12) == "…01.invoices"
    assert shortened("short", 12) == "short"
    assert shortened("日本語の長い名前", 8) == "…い名前"


def test_the_wider_the_more_and_never_too_wide() -> None:
    assert width_of(0) == 1.0
    assert width_of(1) < width_of(100) < width_of(10_000)
    assert width_of(1e12) == 8.0
