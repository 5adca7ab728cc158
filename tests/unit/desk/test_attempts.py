"""The message page lists failed attempts, newest first; library frames are folded, and nothing of them is markup."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from tasuki import App
from tasuki.cli.message import attempt_texts
from tasuki.contracts.driver import Outgoing
from tasuki.desk.reading.message_rows import Part, attempt_of, folded
from tasuki.flow.attempts import attempt_key
from tasuki.message import HeaderValue, Message
from tasuki.queues.dead.attempts import AttemptRecord, encode, header_of, records_in
from tests.unit.desk.browser import Browser
from tests.unit.desk.conftest import HOURLY, MakeBrowser

pytestmark = pytest.mark.anyio

OWN = '  File "/srv/shop/mail/send.py", line 41, in deliver\n    connect(address)\n    ^^^^^^^^^^^^^^^^'
LIBRARY = '  File "/srv/.venv/lib/python3.12/site-packages/smtp/client.py", line 7, in connect\n    raise error'
PYTHON = '  File "/usr/lib/python3.12/socket.py", line 837, in create_connection\n    sock.connect(sa)'
HEAD, LAST = "Traceback (most recent call last):", "ConnectError: refused\n  said by <b>the server</b>"


def record(attempt: int, **fields: object) -> AttemptRecord:
    return AttemptRecord(attempt=attempt, at=1e9 + attempt, **fields)  # type: ignore[arg-type]


def test_frames_of_libraries_are_folded_together() -> None:
    assert folded("\n".join((HEAD, OWN, LIBRARY, PYTHON, LAST))) == [
        Part(f"{HEAD}\n{OWN}"),
        Part(f"{LIBRARY}\n{PYTHON}", 2),
        Part(LAST),
    ]


def test_a_traceback_of_libraries_alone_has_its_error_open() -> None:
    assert folded(f"{LIBRARY}\n{LAST}") == [Part(LIBRARY, 1), Part(LAST)]


def test_a_traceback_of_lua_is_open() -> None:
    text = "mail.lua:3: refused\nstack traceback:\n  mail.lua:3: in upvalue 'charge'\n  mail.lua:6: in function"
    assert folded(text) == [Part(text)]


def test_no_traceback_has_no_parts() -> None:
    assert folded("") == []
    assert attempt_of(record(1, message="one\npassword=hunter2")).error == "one password=***"


async def test_the_page_of_a_message_that_waits_for_its_next_attempt(app: App, browse: MakeBrowser) -> None:
    job = await app.publish("mails", {"to": "later"}, delay="1h")
    state = app._runtime.live().state_of("app:mails")
    assert state is not None
    store = await state.store()
    traceback = "\n".join((HEAD, OWN, LIBRARY, LAST))
    for each in (
        record(1, message="first <i>error</i>", worker="web-1:7", took=0.012),
        record(2, message="second", traceback=traceback, place="mail/send.py:deliver"),
    ):
        await store.put(attempt_key("mails", job.id, each), encode(each))

    page = (await browse().get(f"/messages/app:mails/{job.id}")).text

    assert "Failed attempts (2)" in page
    assert page.index("Attempt 2") < page.index("Attempt 1")
    assert len(re.findall(r'<details id="attempt-0-\d" open>', page)) == 1
    assert "web-1:7" in page
    assert "12 ms" in page
    assert "mail/send.py:deliver" in page
    assert "<summary>1 frame of a library</summary>" in page
    assert "<i>error" not in page
    assert "<b>the server" not in page


@pytest.mark.parametrize("language", ["en", "ja"])
async def test_the_page_of_a_dead_letter_shows_its_own_records(app: App, browse: MakeBrowser, language: str) -> None:
    text = header_of([record(1, message="the first", round=1), record(2, message="the last", round=1)])
    headers: dict[str, HeaderValue] = {
        "x_attempts": text,
        "x_dead_letter_reason": "max_attempts",
        "x_last_error": "the last",
    }
    queue = app._runtime.live().queues["app:dead"]
    assert await queue.forward([Outgoing("m-1", b"{}", headers)]) == [None]

    page = (await browse(headers={"accept-language": language}).get("/messages/app:dead/m-1")).text

    assert page.index('id="error"') < page.index('id="attempts"')
    assert "the first" in page
    assert page.count(">x_attempts") == 0


@pytest.mark.parametrize(
    "hostile",
    [
        '[{"attempt": 1, "at": 1e300, "took": 1e300}]',
        '[{"attempt": -1, "at": -1e300, "took": -1e300, "round": -5}]',
        '[{"attempt": 999999999999999999999, "at": 0, "message": "\\u202e<script>", "worker": "\\u0000"}]',
        "[" * 9000,
    ],
)
async def test_forged_records_break_no_page(app: App, browse: MakeBrowser, hostile: str) -> None:
    headers: dict[str, HeaderValue] = {"x_attempts": hostile, "x_dead_letter_reason": "max_attempts"}
    queue = app._runtime.live().queues["app:dead"]
    assert await queue.forward([Outgoing("m-1", b"{}", headers)]) == [None]
    answer = await browse().get("/messages/app:dead/m-1")
    assert answer.status_code == 200
    assert "<script>" not in answer.text.partition("<h1>")[2]
    assert "\u202e" not in answer.text
    for record in records_in(Message("m-1", b"", headers)):
        assert attempt_texts([record], 1e9)
    told = await app.jobs.explain("dead", "m-1")
    assert told.causes[0].code in ("dead", "no consumer")


def found_in(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    assert found, text
    return found[1]


async def test_the_list_the_page_and_explain_agree_on_the_next_attempt_as_the_broker_has_it(tmp_path: Path) -> None:
    app = App(f"sqlite:///{tmp_path / 'queue.db'}", root=tmp_path)
    reports = app.queue("reports", retry={"initial_delay": "2h", "max_delay": "2h", "jitter": 0.5})

    @reports.consumer(name="reporter")
    async def report(body: object) -> None:
        raise TimeoutError("no answer")

    async with app.worker():
        job = await app.publish("reports", 1)
        while not await app.jobs.attempts("reports", job.id):
            await asyncio.sleep(0.01)
        desk = app.desk(is_open=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client:
            browser = Browser(client, desk)
            while "Next in" not in (listed := await browser.text("/queues/app:reports?tab=retrying")):
                await asyncio.sleep(0.01)
            page = await browser.text(f"/messages/app:reports/{job.id}")
        await desk.tools.sampler.close()
    told = found_in(page, r"for its next attempt at (\S+)Z, in")
    shown = found_in(page, r"Next in \d+ \S+(?: \d+ \S+)? \( (\S+ \S+) UTC \)")
    apart = datetime.fromisoformat(told) - datetime.fromisoformat(shown)
    assert abs(apart.total_seconds()) <= 3, page
    assert "≈" not in listed + page, "the broker knows it"


async def test_tabs_say_how_many_messages_they_have(app: App, browse: MakeBrowser) -> None:
    for _ in range(3):
        await app.publish("images", 1, HOURLY)
    await app.publish("images", 1, HOURLY, delay="1h")
    text = await browse().text("/queues/app:images")
    assert "Waiting 3 Delayed 1 " in text
