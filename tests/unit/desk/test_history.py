"""The last hour at the desk: chart, columns, tab and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from typing import Any

import pytest

from tasuki import App
from tasuki.app.history.writing import Kept
from tasuki.desk.looks.charts import chart, path
from tasuki.observe.history.minutes import Minute, Point, encode
from tasuki.observe.metrics import BUCKETS
from tests.unit.desk.browser import words
from tests.unit.desk.conftest import MakeBrowser

pytestmark = pytest.mark.anyio


def remember(app: App, **points: Point) -> int:
    """Let the app have had a busy hour in these queues; the last minute of it."""
    own, live = app.recent_history(), app.assembly
    assert own is not None
    assert live is not None
    now = int(app.clock.time() // 60)
    kept: deque[Kept] = deque()
    for minute in range(now - 59, now):
        [value] = encode(Minute(minute, "h", 1, len(BUCKETS) + 1, {"app:driver": points}, consumes=True), 10**6)
        kept.append(Kept(minute, value))
    own._kept[live.state_of("app:mails")] = kept
    return now


BUSY = Point(120, 60, 6, 1, 5, 2, [4, 10], [7, 20], [10, 5, 1] * 12)


async def test_queues_show_rates_times_and_a_line(app: App, browse: MakeBrowser) -> None:
    remember(app, mails=BUSY)
    browser = browse()

    page = (await browser.get("/queues")).text
    row = page[page.index('id="q-app:mails"') :]
    row = row[: row.index("</tr>")]

    assert "2.0/s" in row, "120 messages a minute"
    assert " ms" in row
    assert row.count("<path") == 2
    assert re.search(r'aria-label="Last hour: 3,\d{3} done, 3\d\d failed"', row)
    assert "<path" not in page[page.index('id="q-app:images"') : page.index('id="q-app:mails"')]
    sorted_page = await browser.text("/queues?sort=in&dir=down")
    assert sorted_page.index("app:mails") < sorted_page.index("app:images")


async def test_the_overview_has_the_hour_of_all_queues_but_dead_letters(app: App, browse: MakeBrowser) -> None:
    remember(app, mails=BUSY, images=Point(done=60), dead=Point(done=6000))
    text = (await browse().get("/")).text

    assert "up to 120 a minute" in words(text)
    assert len(re.findall(r'<path class="(?:published|done|failed)"', text)) == 3
    assert "In 2.0/s" in words(text)


async def test_a_quiet_hour_says_so(browse: MakeBrowser) -> None:
    browser = browse()
    assert "Nothing happened in the last hour." in await browser.text("/")
    assert "Nothing happened in the last hour." in await browser.text("/queues/app:mails?tab=history")
    answer = await browser.get("/queues/app:mails/history.csv")
    assert answer.text.count("\r\n") == 1


async def test_the_tab_has_five_minutes_a_line(app: App, browse: MakeBrowser) -> None:
    remember(app, mails=BUSY)
    answer = await browse().get("/queues/app:mails?tab=history")
    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", answer.text, re.DOTALL)

    assert len(rows) == 12
    assert re.search(r" 600 300 30 5 5 ", words(rows[1])), words(rows[1])
    assert "up to 10 in 5 s" in words(answer.text)


async def test_each_minute_is_a_line_of_csv(app: App, browse: MakeBrowser) -> None:
    remember(app, mails=BUSY)
    answer = await browse().get("/queues/app:mails/history.csv")

    lines: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="app-mails-history.csv"'
    assert len(lines) == 60
    assert lines[30]["published"] == "120"
    assert lines[30]["ready"] == "5"
    assert float(lines[30]["run_p95"]) > 0.1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z", lines[30]["start"])
    assert (await browse().get("/queues/app:nothing/history.csv")).status_code == 404


async def test_a_history_that_cannot_be_read_hides_nothing_else(app: App, browse: MakeBrowser) -> None:
    own, live = app.recent_history(), app.assembly
    assert own is not None
    assert live is not None
    own._kept[live.state_of("app:mails")] = deque([Kept(int(app.clock.time() // 60) - 1, b"\xff broken")])

    assert "app:mails" in await browse().text("/queues")


def test_a_line_of_equal_numbers_is_one_stroke() -> None:
    assert path([0] * 60, 10, 590, 110) == "M0 109h590"
    assert path([0, 10, 0], 10, 100, 22) == "M0 21l50 -20l50 20"


def test_a_line_of_zeros_is_not_drawn() -> None:
    found = chart([("done", [0, 0]), ("failed", [0, 3])], 100, 22)
    assert [name for name, _ in found.paths] == ["failed"]
    assert found.most == 3
    assert chart([("done", [])], 100, 22).paths == []


async def test_the_api_has_each_minute(app: App, browse: MakeBrowser) -> None:
    now = remember(app, mails=BUSY)
    client = browse().client
    found = (await client.get("/api/v1/queues/app:mails/history")).json()["items"]
    own = [each for each in await app.history("mails") if each.published]

    assert len(found) == 60
    assert [each["at"] for each in found] == [found[0]["at"] + 60 * number for number in range(60)]
    busy = {each["at"]: each for each in found if each["published"]}
    assert max(busy) < now * 60, "a minute that is not over is left out"
    for each in own:
        if (minute := busy.get(each.at)) is not None:
            for name in ("published", "done", "failed", "dead", "ready", "wait_p95", "run_p95"):
                assert minute[name] == getattr(each, name)
    assert len(busy) > 50
    assert all(each["run_p50"] <= each["run_p95"] <= each["run_p99"] for each in busy.values())
    assert (await client.get("/api/v1/queues/app:images/history")).json() == {"items": []}
    assert (await client.get("/api/v1/queues/app:nothing/history")).status_code == 404
