"""What became of a message, on every driver: status says it of each, from any process, in two requests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.app.app import reader_of
from tasuki.app.handle import QueueHandle
from tasuki.errors import HandlerError, UnsupportedError
from tasuki.message import new_id
from tests.support.brokers.everywhere import DRIVERS, overrides

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

LOCATING = {"memory", "sqlite", "postgres"}
"""Drivers that say where a message is."""
STATELESS = {"amqp", "sqs"}
LATER = "10m"
"""The longest delay of SQS is 15 minutes."""


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(driver: str, tmp_path: Path) -> Callable[..., App]:
    """Apps of one project on the driver: each stands for its own process, but in memory."""
    names = [f"app:{queue}:queue_name={queue}_{uuid4().hex[:8]}" for queue in ("jobs", "dead")]
    changes = [*overrides(driver, "app:on", tmp_path), *names]
    known: list[App] = []

    def load(*, result: bool = True) -> App:
        if driver == "memory" and known:
            return known[0]
        app = App(root=tmp_path, overrides=changes)
        app.entry("on", "queue.driver.memory")
        app.entry("keeper", "queue.driver.sqlite", path="state.db")
        app.entry("state", "store.sqlite", driver="keeper")
        state: dict[str, Any] = {"driver": "on", **({"state": "state"} if driver in STATELESS else {})}
        app.queue("dead", **state)
        app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1}, result="1h" if result else None, **state)
        known.append(app)
        return app

    return load


class Work:
    """A consumer of one message at a time, which holds others; each handler waits for its gate."""

    def __init__(self, app: App) -> None:
        self.started: list[str] = []
        self.gate = asyncio.Event()
        QueueHandle[Any](app, "app:jobs").consumer(name="work", concurrency=1, prefetch=3)(self.handle)

    async def handle(self, body: str) -> str:
        self.started.append(body)
        await self.gate.wait()
        if body == "fail":
            raise ValueError("boom")
        return body


def counted(app: App, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests that an app makes to its store and its broker from now on."""
    made: list[str] = []
    live = app._runtime.live()
    state = live.state_of("app:jobs")
    assert state is not None
    verbs = [(state.opened, ("get", "list", "put", "time")), (live.queue("app:jobs").driver, DRIVER_VERBS)]
    for target, names in verbs:
        for name in names:
            monkeypatch.setattr(target, name, noting(getattr(target, name), name, made))
    return made


DRIVER_VERBS = ("locate", "find", "peek", "depth", "occupancy", "inspect")


def noting(verb: Callable[..., Any], name: str, made: list[str]) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        made.append(name)
        return verb(*args, **named)

    return call


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_every_message_has_its_status_from_any_process_in_two_requests(
    driver: str, make: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, reader, worker = make(), make(), make()
    work = Work(worker)

    async def status(id: str) -> str:
        before = len(made)
        found = await reader.jobs.get(id, queue="jobs").status()
        assert len(made) - before <= 2, made[before:]
        return found

    async with publisher, reader, worker.worker():
        first = await publisher.publish("jobs", "one")
        assert await first.status() in ("waiting", "running")
        await until(lambda: work.started)
        fetched = await publisher.publish("jobs", "fail")
        late = await publisher.publish("jobs", "late", delay=LATER)
        for start in range(0, 1100, 100):
            await publisher._runtime.queue("jobs").publish_many(range(start, start + 100))
        last = await publisher.publish("jobs", "last")
        held = worker._runtime.live().consumers["app:work"]
        await until(lambda: held.now.buffered)
        await reader.jobs.get(first.id, queue="jobs").status()  # opens the store
        made = counted(reader, monkeypatch)
        assert await status(first.id) == "running"
        assert [await status(job.id) for job in (fetched, last)] == ["waiting", "waiting"]
        assert await status(late.id) == "delayed"
        assert await status(new_id()) == "unknown"
        work.gate.set()
        assert await reader.jobs.get(first.id, queue="jobs").result("60s") == "one"
        assert await status(first.id) == "done"
        with pytest.raises(HandlerError, match="boom"):
            await reader.jobs.get(fetched.id, queue="jobs").result("60s")
        await until(lambda: held.now.held == 0)
        assert await status(fetched.id) == "dead"
        assert await late.cancel() in ("waiting", "requested")
        assert await status(late.id) == "cancelled"


async def test_a_redriven_message_waits_again_and_a_purged_one_is_unknown(
    driver: str, make: Callable[..., App]
) -> None:
    app = make()
    work = Work(app)
    work.gate.set()
    async with app.worker():
        job = await app.publish("jobs", "fail")
        with pytest.raises(HandlerError, match="boom"):
            await job.result("60s")
        consumer = app._runtime.live().consumers["app:work"]
        await app.workers.pause("jobs")
        await until(lambda: consumer.now.pause is not None and consumer.now.held == 0)
        assert await app.dead.redrive("dead") == 1
        assert await job.status() == "waiting"
        other, queue = await app.publish("jobs", "one"), app._runtime.queue("jobs")
        if queue.driver.capabilities.has("purge"):
            await queue.purge()
            assert await other.status() == "unknown"


async def test_without_results_it_is_told_what_the_broker_and_the_workers_know(
    driver: str, make: Callable[..., App]
) -> None:
    app = make(result=False)
    work = Work(app)
    async with app.worker():
        running = await app.publish("jobs", "one")
        await until(lambda: work.started)
        fetched = await app.publish("jobs", "two")
        await until(lambda: app._runtime.live().consumers["app:work"].now.buffered)
        late = await app.publish("jobs", "late", delay=LATER)
        assert (await running.status(), await fetched.status()) == ("running", "waiting")
        if driver in LOCATING:
            assert await late.status() == "delayed"
            assert await app.jobs.get("never", queue="jobs").status() == "unknown"
        elif driver != "redis":
            with pytest.raises(UnsupportedError, match=r"write result: 1h at the queue"):
                await late.status()
        else:
            assert await late.status() in ("waiting", "delayed")
        work.gate.set()


async def test_no_message_of_a_live_worker_is_blamed_for_another_one(driver: str, make: Callable[..., App]) -> None:
    """Explain of an id that never was, while workers of this process hold others."""
    app = make()
    work = Work(app)
    async with app.worker():
        await app.publish("jobs", "one")
        await until(lambda: work.started)
        fetched = await app.publish("jobs", "two")
        await until(lambda: app._runtime.live().consumers["app:work"].now.buffered)
        never = await app.jobs.explain("jobs", "never")
        assert (never.found, [cause.code for cause in never.causes]) == (False, ["no such message"])
        desk = reader_of(app)  # the app that the desk of this process reads with
        if driver != "memory":
            async with desk:
                held = await desk.jobs.explain("jobs", fetched.id)
                assert (held.found, held.causes[0].code) == (True, "prefetched")
                assert (await desk.jobs.explain("jobs", "never")).found is False
        work.gate.set()


@pytest.mark.parametrize("result", [True, False])
async def test_publishing_writes_a_record_only_where_the_broker_cannot_locate(
    driver: str, make: Callable[..., App], monkeypatch: pytest.MonkeyPatch, result: bool
) -> None:
    app = make(result=result)
    async with app:
        state = app._runtime.live().state_of("app:jobs")
        assert state is not None
        await state.store()
        made = counted(app, monkeypatch)
        await app.publish("jobs", "one")
        await app._runtime.queue("jobs").publish_many(["two", "three"])
        assert made == ["put"] * (3 if result and driver not in LOCATING else 0)


async def test_a_message_that_waits_for_its_next_attempt_is_delayed_and_explain_says_until_when(
    driver: str, make: Callable[..., App]
) -> None:
    """Not by its headers: its publisher gave it no delay."""
    app = make(result=False)
    failures: list[str] = []

    async def fail(body: str) -> None:
        failures.append(body)
        raise ValueError("boom")

    options: dict[str, Any] = {"retry": {"initial_delay": "5m", "max_delay": "5m", "jitter": 0}}
    if driver in STATELESS:
        options["state"] = "state"
    app.queue("slow", driver="on", dead_letter={"queue": "dead", "max_attempts": 5}, **options)
    QueueHandle[Any](app, "app:slow").consumer(name="failing")(fail)
    async with app.worker():
        job = await app.publish("slow", "one")
        await until(lambda: failures)
        await until(lambda: app._runtime.live().consumers["app:failing"].now.held == 0)
        able = app._runtime.queue("slow").driver.capabilities
        if able.has("transfer"):
            assert await job.status() == "delayed"
            cause = (await app.jobs.explain("slow", job.id)).causes[0]
            assert cause.code == "delayed"
            expected = r"waits for its next attempt at \S+Z, in (4m\d\ds|5m); last: .*boom"
            assert re.search(expected, cause.text), cause.text
