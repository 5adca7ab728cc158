"""Dead letters on the desk: groups, filters, lists, downloads; whatever the letters hold."""

from __future__ import annotations

import json
import re

import pytest

from tasuki import App
from tasuki.desk.dead import library, windows
from tasuki.desk.dead.rows import bars, trend_of
from tasuki.drivers.memory.driver import MemoryDriver
from tests.unit.desk.browser import words
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.letters import bury

pytestmark = pytest.mark.anyio

DEAD = "/dead/app:dead"


async def test_letters_are_counted_by_their_cause(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1", "2", "3", error="ConnectionError: connection to 10.0.0.7:5432 refused")
    await bury(app, "4", error="ValueError: no such table")
    browser = browse()

    text = await browser.text("/dead")

    assert "Dead letters: 4, in queues: 1, in groups: 2. (all were read)" in text
    assert re.search(r"3 .*? app:mails app:dead ConnectionError: connection .*? Retry 3… 1 .*? ValueError: no", text), (
        text
    )
    assert "Dead letters: 4, in queues: 1, in groups: 1." in await browser.text("/dead?by=queue")
    assert "Dead letters: 1, in queues: 1, in groups: 1." in await browser.text("/dead?where=type=='ValueError'")
    assert "No dead letter matches." in await browser.text("/dead?where=type=='OSError'")


async def test_a_mistake_in_a_filter_is_shown_at_its_field(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1")
    for path in ("/dead", DEAD):
        answer = await browse().get(f"{path}?where=colour == 1")
        assert answer.status_code == 200
        assert 'value="colour == 1" aria-invalid="true" aria-describedby="where-problem"' in answer.text
        assert "&#39;colour&#39; is not known" in answer.text
        assert "column 1" in answer.text


async def test_letters_that_cannot_be_judged_are_counted(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1", body="7")
    await bury(app, "2", body='{"n": 1}')
    text = await browse().text("/dead?where=body.n == 1")
    assert "1 letter could not be judged: a number has no such field" in text
    assert "Dead letters: 1," in text


async def test_the_letters_of_a_group_have_its_head_and_their_facts(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1", error="ValueError: b", body='{"to": "me"}', partition_key="acme", x_redriven=2)
    await bury(app, "2")
    browser = browse()
    page = (await browser.get("/dead?by=type")).text
    link = next(each for each in re.findall(r'class="open" href="([^"]*)"', page) if "ValueError" in each)

    text = await browser.text(link.replace("&amp;", "&"))

    assert "ValueError: b Type of error ValueError · max_attempts" in text
    assert re.search(r'1 1 m \d\d s 3 2 acme {"to": "me"} max_attempts ValueError: b', text), text
    assert "All of this filter: Retry 1… Move 1… Delete 1… Export 1" in text


async def test_a_group_whose_key_is_empty_is_a_group(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1", message_type="welcome")
    await bury(app, "2", "3")
    browser = browse()
    assert "Type of message: (none)" in await browser.text("/dead?by=task")
    for path in (f"{DEAD}?by=task&group=", f"{DEAD}?by=task&group=&lang=ja"):
        assert re.search(r"2 dead letters\.|デッドレター2件。", await browser.text(path))
    assert "&amp;group=&amp;" in (await browser.get(f"{DEAD}?by=task&group=&where=age > 1")).text


async def test_a_list_has_pages(app: App, browse: MakeBrowser) -> None:
    await bury(app, *(f"{number:03}" for number in range(120)))
    browser, seen, path = browse(), [], DEAD
    for _ in range(3):
        page = (await browser.get(path)).text
        seen += re.findall(r'name="ids" value="(\d+)"', page)
        following = re.search(r'rel="next" href="([^"]*)"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert sorted(seen) == [f"{number:03}" for number in range(120)]
    assert len(seen) == len(set(seen))
    assert path == ""
    for cursor in ("x", "1e999:x", "nan:y", ":", "0:nothing"):
        assert (await browser.get(f"{DEAD}?after={cursor}")).status_code == 200


async def test_of_a_long_queue_the_newest_are_read(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "NEWEST", 10)
    await bury(app, *(f"{number:03}" for number in range(60)))
    text = await browse().text("/dead")
    assert "Dead letters: 10, in queues: 1, in groups: 1. (of the newest 10 of each queue)" in text


async def test_many_viewers_cost_one_read(app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    await bury(app, *(f"{number:03}" for number in range(60)))
    calls = [0]
    peek = MemoryDriver.peek

    async def counting(self: MemoryDriver, queue: str, limit: int, after: int = 0) -> object:
        calls[0] += limit > 1
        return await peek(self, queue, limit, after)

    monkeypatch.setattr(MemoryDriver, "peek", counting)
    browser = browse()
    for path in ("/dead", DEAD, "/dead?by=type", f"{DEAD}?by=type&group=KeyError", "/dead") * 2:
        assert (await browser.get(path)).status_code == 200
    assert calls[0] == 2  # the newest fifty, and the others


async def test_what_is_kept_of_letters_is_bounded(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(app, "big", error="E: " + "x" * 5000, body=json.dumps({"a": "y" * 2**20}), tenant="z" * 3000)
    await bury(app, "packed", body=json.dumps(["v" * 5000]), content_type="json/plain+gzip")
    desk = browse().desk
    window = await desk.tools.library.window("app:dead", "")
    for item in window.items:
        letter = item.letter
        assert len(letter.message.body) <= 1024
        assert len(letter.error) <= 300
        assert letter.message.headers.keys() <= {"content_type"}
    monkeypatch.setattr(library, "MOST_ITEMS", 3)
    for number in range(4):
        await desk.tools.library.window("app:dead", f"age > {number}")
    kept = [shelf.window for shelf in desk.tools.library._shelves.values() if shelf.window]
    assert sum(len(each.items) for each in kept) <= 4


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202egnp.exe", "&group=x"]
)
async def test_hostile_texts_are_text(app: App, browse: MakeBrowser, text: str) -> None:
    await bury(
        app, text, error=f"{text}: {text}", body=json.dumps({text: text}), x_original_queue=text, message_type=text
    )
    browser = browse()
    for path in ("/dead", "/dead?by=task", "/dead?by=queue", DEAD, f"/dead?where={text}"):
        page = re.sub(r'value="[^"]*"', "", (await browser.get(path)).text)  # a field is sent as it is
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "\u202e" not in page
        for link in re.findall(r'class="open" href="([^"]*)"', page):
            answer = await browser.get(link.replace("&amp;", "&"))
            assert answer.status_code == 200, link
            assert "<script>alert" not in answer.text


async def test_a_download_has_the_chosen_letters_without_secrets(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1", body='{"password": "hunter2", "n": 1}', api_key="hunter2")
    await bury(app, "2", body='{"n": 2}', error="ValueError: b")
    await bury(app, "3", body="not json", content_type="bytes/raw")
    browser = browse()

    answer = await browser.get(f"{DEAD}/export")
    lines = [json.loads(line) for line in answer.text.splitlines()]

    assert answer.headers["content-type"] == "application/x-ndjson"
    assert re.fullmatch(r'attachment; filename="app-dead-\d{8}T\d{6}Z\.jsonl"', answer.headers["content-disposition"])
    assert [line["id"] for line in lines] == ["1", "2", "3"]
    assert "hunter2" not in answer.text
    assert lines[0]["body"]["n"] == 1
    assert {"body", "body_base64"} & lines[2].keys()
    some = await browser.get(f"{DEAD}/export?by=type&group=ValueError")
    assert [json.loads(line)["id"] for line in some.text.splitlines()] == ["2"]
    assert (await browser.get(f"{DEAD}/export?where=colour")).status_code == 400
    page = (await browser.get(DEAD)).text
    token = re.search(r'name="token" value="([^"]*)"', page)
    assert token
    two = await browser.client.post(f"{DEAD}/export", data={"token": token[1], "ids": ["1", "3"]})
    assert [json.loads(line)["id"] for line in two.text.splitlines()] == ["1", "3"]
    assert (await browser.client.post(f"{DEAD}/export", data={"token": token[1]})).status_code == 400
    assert (await browser.client.post(f"{DEAD}/export", data={"ids": "1"})).status_code == 403


async def test_few_downloads_run_at_once(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1")
    browser = browse()
    browser.desk.tools.library.downloads = 4
    assert (await browser.get(f"{DEAD}/export")).status_code == 503
    browser.desk.tools.library.downloads = 3
    assert (await browser.get(f"{DEAD}/export")).status_code == 200
    assert browser.desk.tools.library.downloads == 3


async def test_texts_that_no_page_can_carry_are_replaced(app: App, browse: MakeBrowser) -> None:
    await bury(app, "1", x_error_type="\ud800Error", x_place="\udfff", x_original_queue="\ud800", x_cause="\ud800")
    browser = browse()
    for path in ("/dead", "/dead?by=type", "/dead?by=place", DEAD, f"{DEAD}/export"):
        assert (await browser.get(path)).status_code == 200


async def test_letters_of_a_broker_that_cannot_show_them_are_borrowed(
    app: App, browse: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("peek"))
    monkeypatch.setattr(windows, "NEWEST", 2)
    await bury(app, "1", "2", "3")
    browser = browse()
    for path in ("/dead", DEAD):
        text = await browser.text(path)
        assert "app:driver cannot show messages without receiving them. Borrow 3, for up to 10 s" in text, path
        assert "all were read" not in text
        assert "No dead letters." not in text
    page = await browser.text("/dead")
    assert "Dead letters: 3, in queues: 1, in groups: 0. 3 dead letters are in no group" in page
    answer = (await browser.get("/api/v1/dead/groups")).json()
    assert (answer["count"], answer["unread"], answer["groups"], answer["is_all"]) == (3, 3, [], False)
    assert (await browser.get("/api/v1/dead/groups?where=attempts>1")).json()["count"] == 0, "not known to match"

    page = words((await browser.act(DEAD)).text)

    assert "2 letters of app:dead were received and released." in page
    assert "2 dead letters. (borrowed 0 ms ago: 2 of 3)" in re.sub(r"\d+ m?s ago", "0 ms ago", page)
    page = await browser.text("/dead")
    assert "Dead letters: 2, in queues: 1, in groups: 1. (borrowed 0 ms ago: 2 of 3)" in re.sub(
        r"\d+ m?s ago", "0 ms ago", page
    )
    assert "newest" not in page
    answer = (await browser.get("/api/v1/dead/groups")).json()
    assert (answer["count"], answer["unread"], answer["is_all"]) == (2, 0, False), "as the page has it"
    depth = await app._runtime.queue("dead").depth()
    assert (depth.ready, depth.in_flight) == (3, 0)
    monkeypatch.undo()
    action = f"{DEAD}/borrow"
    fields = {"token": re.findall(r'name="token" value="([^"]*)"', (await browser.get(DEAD)).text)[0]}
    assert (await browser.post(action, fields)).status_code == 404


async def test_a_queue_that_is_none_of_dead_letters_has_no_such_page(browse: MakeBrowser) -> None:
    browser = browse()
    for path in ("/dead/app:mails", "/dead/app:nothing", "/dead/app:mails/borrow", "/batches/nothing"):
        assert (await browser.get(path)).status_code in (404, 405)


def test_a_trend_counts_twelfths_of_the_last_hour() -> None:
    now = 1e9
    assert trend_of([now, now - 1, now - 299, now - 301, now - 3599, now - 3601, now + 50], now) == (
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 4,
    )  # fmt: skip
    assert bars((0, 1, 100)) == "M5 16v-2h4v2zM10 16v-16h4v16z"
    assert bars(()) == ""
