"""The line that each message has in the log, and that a higher level switches off."""

from __future__ import annotations

import logging
import re

import pytest

from tasuki import App, Reject, Retry
from tasuki.observe.log import TextFormatter
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tasuki.message")


def lines_of(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "tasuki.message"]


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    """With ``ID``, ``TIME`` and ``DELAY`` for the parts that differ from run to run."""
    found = [record.getMessage() for record in lines_of(caplog)]
    found = [re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text) for text in found]
    return [re.sub(r"[\d.]+ m?s\b", "TIME", re.sub(r"again in [\dm.s]+", "again in DELAY", text)) for text in found]


async def test_one_line_for_each_end_with_queue_id_task_attempt_and_duration(caplog: pytest.LogCaptureFixture) -> None:
    app, tries = App("memory://"), []
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 2})
    mails = app.queue("mails", dead_letter="dead", message_ttl="10s")

    @jobs.task
    async def fetch(url: str) -> None:
        tries.append(url)
        if url == "broken":
            raise ValueError("no\nhost")
        if url == "rejected":
            raise Reject("never")
        if url == "late" and len(tries) == 1:
            raise Retry(after="1m")

    @mails.consumer
    async def send(body: str) -> None: ...

    async with TestApp(app) as t:
        for url in ("late", "broken", "rejected"):
            await fetch.publish(url)
            await t.advance("10m")
        await mails.publish("good")
        await t.drain()
        await mails.publish("old")
        t.clock.advance(60)
        await t.drain()
        t.errors.clear()
    assert texts(caplog) == [
        "retried app:jobs ID fetch, attempt 1, TIME; again in DELAY: retry",
        "done app:jobs ID fetch, attempt 2, TIME",
        "done app:mails ID, attempt 1, TIME",
        "discarded app:mails ID, attempt 1; expired: its time to live has passed",
    ]
    done = next(record for record in lines_of(caplog) if record.getMessage().startswith("done app:jobs"))
    fields = vars(done)
    assert (fields["queue"], fields["task"], fields["attempt"], fields["consumer"]) == (
        "app:jobs",
        "fetch",
        2,
        "app:jobs.workers",
    )
    assert fields["message_id"] in done.getMessage()
    assert fields["seconds"] >= 0


async def test_a_terminal_shows_queue_and_id_once(caplog: pytest.LogCaptureFixture) -> None:
    app = App("memory://")
    mails = app.queue("mails")

    @mails.consumer
    async def send(body: str) -> None: ...

    async with TestApp(app) as t:
        id = (await mails.publish("x")).id
        await t.drain()
    [line] = [TextFormatter().format(record) for record in lines_of(caplog)]
    assert (line.count(id), line.count("app:mails"), line.count("attempt")) == (1, 1, 1)
    assert line.endswith("  consumer=app:send.consumer")


async def test_a_higher_level_switches_the_lines_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "tasuki.message")
    app = App("memory://")
    mails = app.queue("mails")

    @mails.consumer
    async def send(body: str) -> None: ...

    async with TestApp(app) as t:
        await mails.publish("x")
        await t.drain()
    assert lines_of(caplog) == []
