"""The line that each message has in the log, one for all of a second if they are many; the level decides."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

from tasuki import App, Context, Reject, Retry
from tasuki.consumers.definition import ConsumerOptions
from tasuki.observe.log import TextFormatter
from tasuki.testing import TestApp
from tests.unit.consumers.parts import make_bench

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
    return [
        re.sub(r"(?:under )?[\d.]+ m?s\b", "TIME", re.sub(r"again in [\dm.s]+", "again in DELAY", text))
        for text in found
    ]


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


SINGLE = "done app:tasks ID, attempt 1, TIME"

TIMES = ", TIME p50, TIME p99"


async def send(body: str, context: Context) -> None:
    if body == "bad":
        raise ValueError("no host")
    if body == "later" and context.attempt == 1:
        raise Retry(after="1h")


async def handled(*seconds: list[str], auto_ack: bool = False) -> None:
    """A consumer that gets these bodies, one list each second."""
    async with await make_bench(send, options=ConsumerOptions(auto_ack=auto_ack)) as bench:
        for bodies in seconds:
            if bodies:
                await bench.queue.publish_many(bodies)
            await asyncio.sleep(1.0)


async def test_more_than_ten_in_a_second_are_one_line_with_counts_and_times(caplog: pytest.LogCaptureFixture) -> None:
    await handled(["x"] * 2_500 + ["later", "bad", "bad"], [])
    *single, summary = texts(caplog)
    assert single == [SINGLE] * 10
    assert summary == f"done app:tasks 2,490, failed 2, retried 1{TIMES}"
    fields = vars(lines_of(caplog)[-1])
    assert (fields["queue"], fields["consumer"], fields["done"]) == ("app:tasks", "app:consumer", 2_490)
    assert 0 <= fields["p50"] <= fields["p99"]
    failures = [each for each in caplog.records if each.name == "tasuki.consumer" and each.levelname == "WARNING"]
    assert len([each for each in failures if "no host" in each.getMessage()]) == 4, "a failure always has its own line"


async def test_busy_seconds_are_a_line_each_and_a_quiet_one_ends_them(caplog: pytest.LogCaptureFixture) -> None:
    await handled(["x"] * 30, ["x"] * 40, ["x"] * 3, [], ["x"] * 2)
    assert texts(caplog) == [
        *[SINGLE] * 10,
        f"done app:tasks 20{TIMES}",
        f"done app:tasks 40{TIMES}",
        f"done app:tasks 3{TIMES}",
        *[SINGLE] * 2,
    ]


async def test_what_was_counted_last_is_written_at_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    async with await make_bench(send) as bench:
        await bench.queue.publish_many(["x"] * 25)
        await bench.settled()
    assert texts(caplog)[10:] == [f"done app:tasks 15{TIMES}"]


async def test_a_level_that_is_raised_meanwhile_ends_the_lines(caplog: pytest.LogCaptureFixture) -> None:
    async with await make_bench(send) as bench:
        await bench.queue.publish("x")
        await asyncio.sleep(0.1)
        caplog.set_level("WARNING", "tasuki.message")
        await bench.queue.publish_many(["x"] * 25)
        await asyncio.sleep(2)
    assert texts(caplog) == [SINGLE]


@pytest.mark.parametrize("auto_ack", [False, True])
async def test_at_debug_each_message_has_its_line(caplog: pytest.LogCaptureFixture, auto_ack: bool) -> None:
    caplog.set_level("DEBUG", "tasuki.message")
    await handled(["x"] * 25, auto_ack=auto_ack)
    assert texts(caplog) == [SINGLE] * 25


async def test_messages_that_are_acked_first_are_counted_too(caplog: pytest.LogCaptureFixture) -> None:
    await handled(["x"] * 25, auto_ack=True)
    assert texts(caplog)[9:] == [SINGLE, f"done app:tasks 15{TIMES}"]


async def test_percentiles_are_of_all_messages_of_a_second_however_many(caplog: pytest.LogCaptureFixture) -> None:
    sleeps = iter([0.0] * 10 + [0.0001] * 4_800 + [0.2] * 190)

    async def sleep(body: str, context: Context) -> None:
        await asyncio.sleep(next(sleeps))

    options = ConsumerOptions(concurrency=5_000, prefetch=5_000)
    async with await make_bench(sleep, options=options) as bench:
        await bench.queue.publish_many(["x"] * 5_000)
        await asyncio.sleep(2.0)
    fields = vars(lines_of(caplog)[-1])
    assert (fields["done"], fields["p50"], fields["p99"]) == (4_990, pytest.approx(0.0001), pytest.approx(0.2))


async def test_a_handler_that_settles_its_message_itself_is_timed_until_then(caplog: pytest.LogCaptureFixture) -> None:
    async def settle(body: str, context: Context) -> None:
        await asyncio.sleep(2)
        context.ack()
        await asyncio.sleep(3)

    async with await make_bench(settle) as bench:
        await bench.queue.publish("x")
        await asyncio.sleep(9)
    assert [record.getMessage().rpartition(", ")[2] for record in lines_of(caplog)] == ["2.0 s"]


async def test_an_expired_message_that_is_dropped_is_discarded(caplog: pytest.LogCaptureFixture) -> None:
    bench = await make_bench(send, dead_letter=False, on_expire="drop")
    await bench.queue.publish("x", ttl=1)
    await asyncio.sleep(5)
    async with bench:
        await asyncio.sleep(1)
    assert texts(caplog) == ["discarded app:tasks ID, attempt 1"]
