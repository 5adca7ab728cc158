"""Schedules of an app: declared in code or YAML, tested in virtual time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Context
from tasuki.drivers import Memory, SQLite
from tasuki.errors import ConfigError, ProjectError
from tasuki.testing import NotSettled, TestApp

pytestmark = pytest.mark.anyio

MORNING = datetime(2026, 3, 28, 8, tzinfo=UTC)


def made(app: App) -> list[str]:
    """What a function above which a schedule stands has done."""
    done: list[str] = []
    jobs = app.queue("jobs")

    @jobs.every("30s")
    async def beat() -> None:
        done.append("beat")

    @app.cron("0 9 * * mon-fri", tz="Asia/Tokyo", args={"who": "ada"})
    def greet(who: str, context: Context) -> None:
        assert context.message is not None
        done.append(f"{who} {context.message.headers['scheduled_for']}")

    return done


async def test_functions_run_at_their_ticks() -> None:
    app = App(Memory())
    done = made(app)
    async with TestApp(app, now=MORNING) as t:
        await t.advance("1m")
        assert done == ["beat", "beat"]
        await t.advance(timedelta(days=3), steps=20_000)
    assert [each for each in done if each != "beat"] == ["ada 2026-03-30T00:00:00Z", "ada 2026-03-31T00:00:00Z"]
    assert done.count("beat") == 2 + 3 * 24 * 120


async def test_a_task_and_a_plain_function_stay_what_they_are() -> None:
    app = App(Memory())
    jobs = app.queue("jobs")

    @jobs.cron("@daily", args={"x": 2})
    @jobs.task
    async def double(x: int) -> int:
        return 2 * x

    @app.every(60)
    def plain() -> str:
        return "plain"

    assert plain() == "plain"
    assert await double(4) == 8
    async with TestApp(app, now=MORNING) as t:
        await t.advance("1d", steps=5_000)
        (sent,) = t.messages(jobs)
    assert (sent.body, sent.headers["message_type"], sent.headers["schedule"]) == (
        {"x": 2}, "double", "app:double.schedule",
    )  # fmt: skip
    assert sent.headers["scheduled_for"] == "2026-03-29T00:00:00Z"
    assert sent.id == f"schedule:app:double.schedule:{int(datetime(2026, 3, 29, tzinfo=UTC).timestamp())}"


async def test_a_body_and_headers_by_the_hundred() -> None:
    app = App(Memory())
    reports = app.queue("reports")
    for tenant in range(100):
        app.schedules.add(
            f"report-{tenant}", reports, every="1h", body={"tenant": tenant}, headers={"tenant": f"t{tenant}"}
        )
    async with TestApp(app, now=MORNING) as t:
        await t.advance("1h")
        assert sorted(body["tenant"] for body in t.published(reports)) == list(range(100))
        assert {sent.headers["tenant"] for sent in t.messages(reports)} == {f"t{tenant}" for tenant in range(100)}


async def test_jitter_comes_after_the_tick_and_is_always_the_same() -> None:
    app = App(Memory())
    reports = app.queue("reports")
    for tenant in range(20):
        app.schedules.add(f"r{tenant}", reports, every="1h", jitter="10m")
    async with TestApp(app, now=MORNING) as t:
        await t.advance("1h")
        first = {sent.id: sent.delay for sent in t.messages(reports)}
    async with TestApp(app, now=MORNING) as t:
        await t.advance("1h")
        assert {sent.id: sent.delay for sent in t.messages(reports)} == first
    assert all(0 <= delay < 600 for delay in first.values())
    assert len(set(first.values())) == 20


async def test_ticks_for_a_queue_without_a_consumer_are_bounded_too() -> None:
    app = App(Memory())
    app.schedules.add("s", app.queue("elsewhere"), every="1s")
    async with TestApp(app, now=MORNING) as t:
        await t.advance("10s", steps=10)
        with pytest.raises(NotSettled, match="schedules ticked 1000 times: let less time pass at once, or give steps="):
            await t.advance("365d")


async def test_the_rule_of_the_queue_holds_for_ticks_too() -> None:
    app = App(Memory())
    rule = app.queue("rule", unique={"key": "body.tenant", "for": "pending"})
    app.schedules.add("by_tenant", rule, every="10s", body={"tenant": 7})
    app.schedules.add("without", rule, every="10s", body={})
    app.schedules.add("no_key", rule, every="10s", body={"tenant": {"a": 1}})
    async with TestApp(app, now=MORNING) as t:
        await t.advance("1m")
        assert sorted(map(str, t.published(rule))) == ["{'tenant': 7}", *["{}"] * 6]


def test_an_id_that_is_too_long_for_its_messages_is_refused() -> None:
    app = App(Memory())
    app.schedules.add("s" * 240, app.queue("jobs"), every="1h")
    with pytest.raises(ProjectError, match=r"its id has 244 characters, .*; write at most 230 with the namespace"):
        app.check()


async def test_ticks_wait_for_a_broker_that_is_away_and_for_room() -> None:
    app = App(Memory())
    done = made(app)
    small = app.queue("small", max_length=2, overflow="reject")
    app.schedules.add("s", small, every="10s")
    async with TestApp(app, now=MORNING) as t:
        t.broker_away("65s")
        await t.advance("1m")
        assert done == []
        await t.advance("1m")
        assert done == ["beat"] * 4
        assert len(t.messages(small)) == 2


async def test_a_paused_schedule_publishes_nothing_until_it_is_resumed() -> None:
    app = App(Memory())
    done = made(app)
    async with TestApp(app, now=MORNING) as t:
        await app.workers.pause("beat.schedule")
        await t.advance("5m")
        assert done == []
        (status,) = [each for each in await app.schedules.list() if each.id == "app:beat.schedule"]
        assert status.pause is not None
        await app.workers.resume("beat.schedule")
        await t.advance("1m")
    assert done == ["beat"] * 2


async def test_run_now_publishes_at_once() -> None:
    app = App(Memory())
    done = made(app)
    async with TestApp(app, now=MORNING) as t:
        id = await app.schedules.run_now("greet.schedule")
        await t.drain()
        assert done == ["ada 2026-03-28T08:00:00Z"]
        assert id.startswith("schedule:app:greet.schedule:now:")
        with pytest.raises(ConfigError, match=r"did you mean 'greet\.schedule'"):
            await app.schedules.run_now("greet.schedul")


async def test_a_random_time_is_the_one_that_the_list_of_schedules_says() -> None:
    app = App(Memory())
    jobs = app.queue("jobs")
    app.schedules.add("sync", jobs, cron="random random * * *", body={}, jitter="5s")
    async with TestApp(app, now=MORNING) as t:
        (sync,) = await app.schedules.list()
        assert sync.next is not None
        assert sync.timing == f"{sync.next.minute} {sync.next.hour} * * *"
        await t.advance("1d")
        (message,) = t.messages("jobs")
        assert message.headers["scheduled_for"] == sync.next.isoformat().replace("+00:00", "Z")


async def test_two_installations_have_other_random_times_and_two_workers_of_one_the_same(tmp_path: Path) -> None:
    def made(folder: str) -> App:
        app = App(f"sqlite:///{tmp_path / folder}/queue.db")
        for number in range(5):
            app.schedules.add(f"sync-{number}", app.queue("jobs"), cron="random random * * *")
        return app

    async def times(app: App) -> list[Any]:
        async with app.worker():
            return [(each.timing, each.next) for each in await app.schedules.list()]

    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    unseen = made("one")
    async with unseen:
        assert {(each.timing, each.next) for each in await unseen.schedules.list()} == {("random random * * *", None)}
    first, second, other = [await times(made(folder)) for folder in ("one", "one", "other")]
    assert first == second
    assert first != other


async def test_an_app_has_a_time_zone_for_expressions_without_one() -> None:
    app = App(Memory())
    app.timezone = "Asia/Tokyo"
    jobs = app.queue("jobs")
    app.schedules.add("a", jobs, cron="0 9 * * *", body={})
    app.schedules.add("b", jobs, cron="0 9 * * *", timezone="UTC", body={})
    app.schedules.add("c", jobs, every="1h", body={})

    @app.cron("30 9 * * *")
    def d() -> None: ...

    async with TestApp(app, now=MORNING):
        assert [each.timing for each in await app.schedules.list()] == [
            "0 9 * * * (Asia/Tokyo)",
            "0 9 * * *",
            "every 1h",
            "30 9 * * * (Asia/Tokyo)",
        ]


async def test_schedules_say_when_they_publish() -> None:
    app = App(Memory())
    made(app)
    app.schedules.add("off", "jobs", cron="@hourly", enabled=False)
    async with TestApp(app, now=MORNING) as t:
        beat, greet, off = await app.schedules.list()
        await t.advance("1m")
    assert (beat.id, beat.timing, beat.queue) == ("app:beat.schedule", "every 30s", "app:jobs")
    assert (beat.next, beat.last) == (MORNING + timedelta(seconds=30), None)
    assert (greet.timing, greet.next) == ("0 9 * * mon-fri (Asia/Tokyo)", datetime(2026, 3, 30, 0, tzinfo=UTC))
    assert (off.is_enabled, off.next) == (False, None)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "a schedule needs cron"),
        ({"cron": "@daily", "every": "1h"}, "cron and every both say when: give one of them"),
        ({"cron": "61 * * * *"}, "61 is not between 0 and 59 in the field minute"),
        ({"every": "1.5s"}, "not 1 or more whole seconds"),
        ({"cron": "@daily", "timezone": "Asia/Tokio"}, "did you mean Asia/Tokyo"),
        ({"every": "1h", "timezone": "UTC"}, "timezone belongs to cron; an interval has none"),
        ({"every": "1h", "task": "sned"}, "queue 'app:jobs' has no task 'sned'; did you mean 'send'?"),
        ({"every": "1h", "task": "send", "body": [1]}, "write body: {name: value}"),
        ({"every": "1h", "tz": "UTC"}, "unknown field 'tz'; did you mean 'timezone'?"),
    ],
)
def test_a_mistake_is_found_by_the_check(fields: dict[str, Any], problem: str) -> None:
    app = App(Memory())
    jobs = app.queue("jobs")

    @jobs.task
    def send() -> None: ...

    app.entry("s", "queue.schedule", {"queue": jobs.id, **fields})
    with pytest.raises(ProjectError) as refused:
        app.check()
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"task": "send"},
            r"task 'send' cannot take .*missing required field `to`; its arguments are to, count",
        ),
        (
            {"task": "send", "body": {"to": "ada", "cuont": 3}},
            r"the task has no parameter 'cuont'; its arguments here are \(to: str, count: int = 1\); its",
        ),
        ({"task": "send", "body": {"to": "ada", "count": "many"}}, r"Expected `int`, got `str` - at `\$\.count`"),
        (
            {"queue": "app:typed", "body": {"x": 1}},
            r"queue 'app:typed' takes list\[int\] \(declared at .*test_schedules",
        ),
        ({"queue": "app:read"}, r"'app:read' takes int .* not one: Expected `int`, got `null`"),
        ({"queue": "app:free", "body": object()}, r"queue 'app:free' \(json/plain\): body cannot be written as JSON"),
        ({"queue": "app:free", "body": "x" * 2_000_000}, "2000002 bytes is larger than max_message_size of 'app:free'"),
        ({"queue": "app:free", "headers": {"attempts": 1}}, "header 'attempts' is reserved"),
        ({"queue": "app:free", "headers": {"schedule": "x"}}, "header 'schedule' is set by the schedule itself"),
        (
            {"queue": "app:far", "jitter": "90d"},
            r"jitter is 2160h, and 'app:far_driver' \(amqp\) delays .* at most; write",
        ),
    ],
)
def test_a_message_that_its_handler_or_queue_would_refuse_is_found_by_the_check(
    fields: dict[str, Any], problem: str
) -> None:
    app = App(Memory())
    jobs, read = app.queue("jobs"), app.queue("read")
    app.queue("free")
    app.queue("debounced", unique={"key": "body.x", "on_conflict": "extend"})
    app.queue("typed", body=list[int])
    app.entry("far_driver", "queue.driver.amqp", {})
    app.entry("db", "queue.driver.sqlite", {})
    app.entry("state", "store.sqlite", {"driver": "db"})
    app.queue("far", driver="far_driver", state="state")

    @jobs.task
    def send(to: str, count: int = 1) -> None: ...

    @read.consumer
    def take(number: int) -> None: ...

    app.entry("s", "queue.schedule", {"queue": jobs.id, "every": "1h", **fields})
    app.schedules.add("good", "typed", every="1h", body=[1, 2], jitter="1d")
    app.schedules.add("better", "read", every="1h", body=3)
    with pytest.raises(ProjectError, match=problem) as refused:
        app.check()
    assert len(refused.value.errors) == 1, refused.value


def test_a_method_and_a_decorator_without_a_time_are_refused() -> None:
    app = App(Memory())

    class Shop:
        @app.every("1h")
        def close(self) -> None: ...

    with pytest.raises(ProjectError, match="it is a method of the class Shop"):
        app.check()
    for decorator in (app.every, app.cron, app.queue("jobs").every):
        with pytest.raises(TypeError, match=r"needs a time, and stands above the function: write @….(every|cron)\('"):
            decorator(print)  # type: ignore[arg-type]


def test_a_queue_without_a_state_has_no_schedules() -> None:
    app = App("amqp://localhost/")
    app.schedules.add("s", app.queue("jobs"), every="1h")
    with pytest.raises(ProjectError, match="queue 'app:jobs' has no state in which to note the last tick"):
        app.check()
    app.entry("db", "queue.driver.sqlite", {})
    app.entry("state", "store.sqlite", {"driver": "db"})
    app.queue("others", state="state")
    app.schedules.add("t", "others", every="1h")
    with pytest.raises(ProjectError) as refused:
        app.check()
    assert "others" not in str(refused.value)


async def test_overlap_skip_passes_over_ticks_while_a_message_is_not_done() -> None:
    app = App(Memory())
    jobs, busy = (
        app.queue("jobs", dead_letter="dead", retry={"initial_delay": "25m", "max_delay": "25m", "jitter": 0}),
        [True],
    )

    @jobs.every("10m", overlap="skip")
    async def slow(context: Context) -> None:
        if busy:
            busy.pop()
            raise OSError("not yet")

    async with TestApp(app, now=MORNING) as t:
        await t.advance("36m")
        assert t.settled(jobs) == ["nack", "ack"]
        await t.advance("10m")
        assert t.settled(jobs) == ["nack", "ack", "ack"]


def test_overlap_skip_is_refused_where_the_driver_cannot() -> None:
    app = App("sqs://", namespace="app")
    app.entry("db", "queue.driver.sqlite", {})
    app.entry("state", "store.sqlite", {"driver": "db"})
    app.entry("sqs", "queue.driver.sqs", {})
    app.queue("jobs", driver="sqs", state="state")
    app.schedules.add("s", "jobs", every="1h", overlap="skip")
    with pytest.raises(
        ProjectError, match=r"overlap: skip needs a driver .* 'app:sqs' \(sqs\) cannot; these can: .*sqlite"
    ):
        app.check()


async def test_a_schedule_without_a_worker_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    app = App(SQLite("queue.db"), root=tmp_path)
    jobs, done = app.queue("jobs"), asyncio.Event()
    app.schedules.add("off", jobs, every="1s", enabled=False)

    @jobs.every("1s")
    async def beat() -> None:
        done.set()

    async with app:
        assert [(status.is_known, status.is_late) for status in await app.schedules.list()] == [(False, False)] * 2
    async with app.worker():
        await done.wait()
    async with app:
        off, beating = await app.schedules.list()
        assert (beating.is_known, beating.is_late, off.is_known, off.is_late) == (True, False, False, False)
        monkeypatch.setattr("tasuki.app.schedules.statuses._LATE", -60)  # as a minute later
        off, beating = await app.schedules.list()
        assert (beating.is_late, off.is_late) == (True, False)
        assert await app.workers.pause("beat.schedule")
        assert not (await app.schedules.list())[1].is_late
