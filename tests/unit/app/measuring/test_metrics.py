"""``app.metrics.snapshot()``: what a process has counted, as Prometheus reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from tasuki import App, Context, Reject, Snooze
from tasuki.observe.exposition.text import exposition
from tasuki.observe.metrics import PROCESS
from tasuki.queues.dead_letter import OF_LETTERS
from tests.unit.app.project import SECOND, Yaml, live, reload
from tests.unit.observe.exposition.samples import parsed, value

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

Make = Callable[..., App]


async def test_what_became_of_each_message(make_app: Make) -> None:
    app = make_app()
    queue = app.queue("mail", dead_letter={"queue": "dead", "max_attempts": 2}, retry={"initial_delay": 1})

    @queue.consumer(concurrency=2)
    async def handle(body: str, context: Context) -> None:
        if body == "fails":
            raise ValueError(body)
        if body == "rejected":
            raise Reject("never")
        if body == "snoozed" and context.message is not None and context.attempt == 1 and not seen:
            seen.append(body)
            raise Snooze(5)

    seen: list[str] = []
    async with app.worker():
        app.metrics.snapshot()
        for body in ("good", "fails", "rejected", "snoozed"):
            await queue.publish(body)
        await queue.publish("late", delay="10s")
        await queue.publish("expired", ttl="1ms", delay="10ms")
        await asyncio.sleep(30)
        found = parsed(exposition(app.metrics.snapshot()))

    def settled(result: str) -> float:
        return value(found, "tasuki_messages_settled_total", queue="app:mail", result=result)

    assert value(found, "tasuki_messages_published_total", queue="app:mail", outcome="confirmed") == 6
    results = {result: settled(result) for result in ("acked", "nacked", "rejected", "snoozed", "released")}
    assert results == {"acked": 3, "nacked": 1, "rejected": 3, "snoozed": 1, "released": 0}
    assert sum(results.values()) == value(found, "tasuki_messages_delivered_total", queue="app:mail")
    reasons = {
        dict(labels)["reason"]: number
        for (name, labels), number in found.items()
        if name == "tasuki_messages_dead_lettered_total"
    }
    counted = {"max_attempts": 1, "rejected": 1, "expired": 1}
    assert reasons == {**dict.fromkeys(OF_LETTERS, 0), **counted}, "the other reasons are there at 0"
    assert value(found, "tasuki_messages_expired_total", queue="app:mail") == 1
    assert value(found, "tasuki_handler_failures_total", error="ValueError") == 2
    assert value(found, "tasuki_consumer_concurrency", queue="app:mail") == 2
    assert value(found, "tasuki_driver_up") == 1
    waits = "tasuki_message_wait_seconds_bucket"
    assert value(found, waits, le="0.25") == value(found, waits, le="8.0"), "a delay is no wait, and a retry no second"


async def test_the_snapshot_is_plain_data_and_is_there_after_the_app_has_closed(make_app: Make) -> None:
    app = make_app()
    queue = app.queue("mail")
    queue.consumer()(_ignore)
    assert app.metrics.snapshot()["queues"] == {}, "not open yet"
    async with app.worker():
        await queue.publish(1)
        await asyncio.sleep(1)
        app.metrics.snapshot()
    closed = app.metrics.snapshot()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(closed)) == closed
    [consumer] = closed["consumers"].values()
    assert (consumer["acked"], consumer["running"]) == (1, 0)
    assert closed["drivers"] == {"app:driver": {"system": "memory", "up": 0, "reconnects": 0}}


async def test_depths_are_read_in_the_background(make_app: Make) -> None:
    app = make_app()
    queue = app.queue("mail")
    async with app:
        await queue.publish(1)
        await queue.publish(2, delay="1h")
        assert "ready" not in app.metrics.snapshot()["queues"]["app:mail"], "a snapshot asks no broker"
        await asyncio.sleep(1)
        first = app.metrics.snapshot()["queues"]["app:mail"]
        assert (first["ready"], first["delayed"], first["in_flight"], first["consumers"]) == (1, 1, 0, 0)
        await queue.publish(3)
        await asyncio.sleep(5)
        assert app.metrics.snapshot()["queues"]["app:mail"]["ready"] == 2
    assert "ready" not in app.metrics.snapshot()["queues"]["app:mail"], "what is no more read is not shown"


async def test_a_pause_is_shown(make_app: Make) -> None:
    app = make_app()
    queue = app.queue("mail")
    queue.consumer()(_ignore)
    async with app.worker():
        await asyncio.sleep(1)
        assert app.metrics.snapshot()["queues"]["app:mail"]["paused"] == 0
        await app.workers.pause(queue)
        await asyncio.sleep(3)
        found = app.metrics.snapshot()
        assert found["queues"]["app:mail"]["paused"] == 1
        assert [each["concurrency"] for each in found["consumers"].values()] == [0]


async def test_messages_that_wait_here_are_buffered_and_returned_at_a_stop(make_app: Make) -> None:
    app = make_app()
    queue = app.queue("mail")

    @queue.consumer(concurrency=1, prefetch=5)
    async def handle(body: int) -> None:
        await asyncio.sleep(3)

    async with app.worker():
        await queue.publish_many([1, 2, 3, 4])
        await asyncio.sleep(1)
        [consumer] = app.metrics.snapshot()["consumers"].values()
        assert (consumer["running"], consumer["buffered"]) == (1, 3)
    [consumer] = app.metrics.snapshot()["consumers"].values()
    assert (consumer["unstarted"], consumer["released"], consumer["acked"]) == (3, 3, 1)


async def test_a_unique_message_that_was_suppressed_is_counted(make_app: Make) -> None:
    app = make_app()
    queue = app.queue("mail")
    async with app:
        await queue.publish(1, unique="invoice-7")
        await queue.publish(2, unique="invoice-7")
        found = app.metrics.snapshot()["queues"]["app:mail"]
        assert (found["published"], found["suppressed"]) == (1, 1)


async def test_counters_go_on_over_a_reload(app: App, yaml: Yaml) -> None:
    app.metrics.snapshot()
    await app.publish("tasks", "a")
    await asyncio.sleep(1)
    before = live(app).consumers["app:consumer"]
    yaml.queue = "dead_letter: dead, retry: {initial_delay: 2s, max_delay: 2s, jitter: 0}"
    await reload(app, yaml)
    assert live(app).consumers["app:consumer"] is not before
    await app.publish("tasks", "b")
    await asyncio.sleep(1)
    found = app.metrics.snapshot()
    assert found["consumers"]["app:consumer"]["acked"] == 2
    assert found["queues"]["app:tasks"]["published"] == 2
    assert sum(found["consumers"]["app:consumer"]["wait_seconds"]["counts"]) == 2


async def test_acts_at_the_desk_are_counted(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROCESS, "acts", {})
    PROCESS.act("retry", "ok")
    PROCESS.act("retry", "ok")
    PROCESS.act("retry", "denied")
    assert make_app().metrics.snapshot()["process"]["acts"] == {"retry": {"ok": 2, "denied": 1}}


async def test_ticks_of_schedules_are_counted(make_app: Make) -> None:
    app = make_app()
    queue = app.queue("mail")

    @queue.every("10s")
    async def tick() -> None:
        """Nothing."""

    async with app.worker():
        app.metrics.snapshot()
        await asyncio.sleep(35)
        [(_, schedule)] = app.metrics.snapshot()["schedules"].items()
        assert schedule["published"] >= 3
        assert schedule["late"] == schedule["skipped"] == 0
        assert schedule["last_success"] <= app._runtime.clock.time()


async def _ignore(body: int) -> None:
    """Handle it."""


async def test_a_redriven_message_waits_from_its_redrive(make_app: Make) -> None:
    app = make_app()
    queue = app.queue("mail", dead_letter={"queue": "dead", "max_attempts": 1})
    fails = [True]

    @queue.consumer()
    async def handle(body: int) -> None:
        if fails:
            raise ValueError(body)

    async with app.worker():
        app.metrics.snapshot()
        await queue.publish(1)
        await asyncio.sleep(3600)
        fails.clear()
        assert await app.dead.redrive("dead") == 1
        await asyncio.sleep(1)
        [consumer] = app.metrics.snapshot()["consumers"].values()
        assert consumer["acked"] == 1
        assert consumer["wait_seconds"]["sum"] < 2


async def test_what_is_published_through_a_queue_that_a_reload_replaces_is_counted(app: App, yaml: Yaml) -> None:
    replaced = live(app).queues["app:tasks"]
    yaml.queue = "dead_letter: dead, retry: {initial_delay: 2s, max_delay: 2s, jitter: 0}"
    await reload(app, yaml)
    assert live(app).queues["app:tasks"] is not replaced
    await replaced.publish("by a handler that runs still")
    await app.publish("tasks", "a")
    found = app.metrics.snapshot()["queues"]["app:tasks"]
    assert (found["published"], sum(found["publish_seconds"]["counts"])) == (2, 2)


async def test_what_a_removed_consumer_counted_for_its_queue_and_driver_stays(app: App, yaml: Yaml) -> None:
    yaml.more = SECOND.replace("dead", "tasks")
    await reload(app, yaml)
    metrics = live(app).consumers["app:second"].metrics
    metrics.expired, metrics.limit_waits, metrics.reconnects = 3, 2, 5
    metrics.bury("invalid")
    live(app).consumers["app:consumer"].metrics.expired = 1
    before = app.metrics.snapshot()
    yaml.more = ""
    await reload(app, yaml)
    after = app.metrics.snapshot()
    assert "app:second" not in after["consumers"]
    queue = after["queues"]["app:tasks"]
    dead = {reason: count for reason, count in queue["dead"].items() if count}
    assert (queue["expired"], queue["limit_waits"], dead) == (4, 2, {"invalid": 1})
    assert after["drivers"] == before["drivers"]


async def test_ticks_are_counted_on_over_a_reload(app: App, yaml: Yaml) -> None:
    yaml.more = "{name: tick, kind: queue.schedule, queue: tasks, every: 10s}"
    await reload(app, yaml)
    await asyncio.sleep(25)
    before = app.metrics.snapshot()["schedules"]["app:tick"]
    assert before["published"] >= 2
    yaml.more = "{name: tick, kind: queue.schedule, queue: tasks, every: 20s}"
    await reload(app, yaml)
    assert app.metrics.snapshot()["schedules"]["app:tick"] == before
