"""The last hour at the desk: chart, columns, tab and CSV."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasuki import App
from tasuki.app.measuring.history import Kept
from tasuki.desk.reading.recent import Past
from tasuki.desk.site import AwayError
from tasuki.moments import unix
from tasuki.observe.history import Minute, Point, encode
from tasuki.observe.metrics import BUCKETS
from tasuki.testing.clock import FakeClock
from tests.unit.desk.browser import Browser, words
from tests.unit.desk.conftest import MakeBrowser

pytestmark = pytest.mark.anyio


def remember(app: App, **points: Point) -> int:
    """Let the app have had a busy hour in these queues; the last minute of it."""
    own, live = app._runtime.history, app._runtime.assembly
    assert own is not None
    assert live is not None
    now = int(app._runtime.clock.time() // 60)
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

    assert re.findall(r">(\d\.\d)/s<", row) == ["2.0", "1.0", "0.1"], "of one minute"
    assert len(re.findall(r">In the minute that ended [\d ms]+ ago\.<", page)) == 1
    assert " ms" in row
    assert row.count("<path") == 2
    assert re.search(r'aria-label="Last hour: 3,\d{3} done, 3\d\d failed"', row)
    assert "<path" not in page[page.index('id="q-app:images"') : page.index('id="q-app:mails"')]
    sorted_page = await browser.text("/queues?sort=in_rate&dir=down")
    assert sorted_page.index("app:mails") < sorted_page.index("app:images")


async def test_the_overview_has_the_hour_of_all_queues_but_dead_letters(app: App, browse: MakeBrowser) -> None:
    remember(app, mails=BUSY, images=Point(done=60), dead=Point(done=6000))
    text = (await browse().get("/")).text

    assert len(re.findall(r'<path class="(?:published|done|failed)" d="M0\.5 ', text)) == 2
    assert "In 2.0/s" in words(text)
    assert "2.0 2.0 0.1" in words(text[text.index("<tbody>") :]), "the table beside the picture: two queues, a second"


async def test_a_quiet_hour_says_so(browse: MakeBrowser) -> None:
    browser = browse()
    for page in ("/", "/queues/app:mails?tab=history"):
        assert re.search(r"Nothing happened in the hour that ended [\d ms]+ ago\.", await browser.text(page)), page
    answer = await browser.get("/queues/app:mails/history.csv")
    assert answer.text.count("\r\n") == 1


async def test_the_tab_has_five_minutes_a_line(app: App, browse: MakeBrowser) -> None:
    remember(app, mails=BUSY)
    answer = await browse().get("/queues/app:mails?tab=history")
    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", answer.text, re.DOTALL)

    assert len(rows) == 12
    assert re.search(r" 600 300 30 5 5 ", words(rows[1])), words(rows[1])
    assert "2.0 1.0 0.2" in words(answer.text), "ten, five and one in a step of five seconds"


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
    own, live = app._runtime.history, app._runtime.assembly
    assert own is not None
    assert live is not None
    own._kept[live.state_of("app:mails")] = deque([Kept(int(app._runtime.clock.time() // 60) - 1, b"\xff broken")])

    assert "app:mails" in await browse().text("/queues")


async def test_the_api_has_each_minute(app: App, browse: MakeBrowser) -> None:
    now = remember(app, mails=BUSY)
    client = browse().client
    found = (await client.get("/api/v1/queues/app:mails/history")).json()["items"]
    own = [each for each in await app.queue("mails").history() if each.published]

    assert len(found) == 60
    starts = [unix(each["at"]) for each in found]
    assert starts == [starts[0] + 60 * number for number in range(60)]
    busy = {unix(each["at"]): each for each in found if each["published"]}
    assert max(busy) < now * 60, "a minute that is not over is left out"
    for each in own:
        if (minute := busy.get(each.at)) is not None:
            for name in ("published", "done", "failed", "dead", "ready", "wait_p95", "run_p95"):
                assert minute[name] == getattr(each, name)
    assert len(busy) > 50
    assert all(each["run_p50"] <= each["run_p95"] <= each["run_p99"] for each in busy.values())
    assert (await client.get("/api/v1/queues/app:images/history")).json()["items"] == []
    assert (await client.get("/api/v1/queues/app:nothing/history")).status_code == 404


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[tuple[App, Past, FakeClock]]:
    """An app and the past that its desk reads, whose time a test advances."""
    clock = FakeClock(1_800_000_000.0)
    app = App("memory://", root=tmp_path, clock=clock)
    app.queue("mails")
    async with app:
        past = Past(app.desk(is_open=True).site, clock)
        yield app, past, clock
        await past.close()


async def test_the_first_page_after_a_quiet_while_shows_the_minutes_of_now(
    slow: tuple[App, Past, FakeClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, past, clock = slow
    remember(app, mails=Point(done=60))
    await past.latest()
    assert (past.queues["app:mails"].failed_rate, past.queues["app:mails"].out_rate) == (0.0, 1.0)

    clock.advance(3600)
    assert (past.queues, past.known, past.ends, past.processes) == ({}, frozenset(), None, []), "nothing of then is now"
    remember(app, mails=Point(failed=5618))
    await past.latest()
    assert (past.queues["app:mails"].failed_rate, past.queues["app:mails"].out_rate) == (5618 / 60, 0.0)
    assert past.ends is not None
    assert 0 <= clock.time() - past.ends <= 80

    async def fail(*_: object, **__: object) -> None:
        raise AwayError("the store is silent")

    monkeypatch.setattr(past._site, "on", fail)
    clock.advance(59)
    await past.latest()
    assert past.queues, "the last read will do for a minute"
    clock.advance(2)
    await past.latest()
    assert not past.queues
    assert not past.known
    assert past.ends is None


async def test_a_client_that_asks_every_forty_seconds_has_the_newest_minute(
    slow: tuple[App, Past, FakeClock],
) -> None:
    app, past, clock = slow
    for failures in (60, 120, 180):
        remember(app, mails=Point(failed=failures))
        await past.latest()
        assert past.queues["app:mails"].failed_rate == failures / 60
        clock.advance(40)
        await past.latest()
        clock.advance(20)


async def test_a_part_that_cannot_be_read_takes_nothing_from_the_others(
    slow: tuple[App, Past, FakeClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, past, clock = slow
    remember(app, mails=Point(done=60))
    real, site = past._site.on, past._site

    async def fail(asked: App, *rest: Any, **options: Any) -> Any:
        if asked is not app:
            raise AwayError("the store is silent")
        return await real(asked, *rest, **options)

    monkeypatch.setattr(site, "on", fail)
    monkeypatch.setattr(site, "parts", lambda: [(App("memory://"), ["app:other"]), (app, ["app:mails"])])
    clock.advance(1)
    await past.latest()
    assert past.known == {"app:mails"}


async def test_the_first_minutes_of_a_system_do_not_say_that_nothing_happened(tmp_path: Path) -> None:
    app = App("memory://", root=tmp_path)
    mails = app.queue("mails", dead_letter={"queue": "dead", "max_attempts": 1})
    app.queue("quiet")
    handled = asyncio.Event()

    @mails.consumer(name="sender")
    async def send(body: int) -> None:
        if body == 3:
            handled.set()
        if body == 1:
            raise ValueError("no such address")

    async with app.worker():
        desk = app.desk(is_open=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client:
            browser = Browser(client, desk)
            await app._runtime.queue("mails").publish_many([1, 2, 3])
            await handled.wait()
            while app._runtime.live().consumers["app:sender"].metrics.acked < 2:
                await asyncio.sleep(0)
            text = await browser.text("/")
            assert "No full minute is known yet. Since the workers started: 2 done, 1 failed." in text, text
            assert "Nothing happened" not in text
            totals = (await browser.get("/api/v1/overview")).json()["totals"]
            assert (totals["in_rate"], totals["out_rate"], totals["failed_rate"]) == (None, None, None), "not 0"
            assert totals["rates_unknown"] == 1, "the minute of the queue without workers is known"
