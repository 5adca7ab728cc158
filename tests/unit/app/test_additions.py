"""Declarations while the app is open are in force at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tasuki import App
from tasuki.errors import LifecycleError, QueueNotFoundError
from tasuki.queues.result import Confirmed
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

MakeApp = Callable[..., App]


class Seen(list[Any]):
    """Bodies that handlers got."""

    async def until(self, *bodies: Any) -> None:
        async with asyncio.timeout(60):
            while sorted(self) != sorted(bodies):
                await asyncio.sleep(0.01)


async def test_a_queue_and_its_consumer_work_at_once(make_app: MakeApp) -> None:
    app, seen = make_app(), Seen()
    app.queue("jobs")
    async with app.worker():
        other = app.queue("other")

        @other.consumer
        def handle(body: int) -> None:
            seen.append(body)

        await other.publish(1)
        assert all(isinstance(result, Confirmed) for result in await other.publish_many([2, 3]))
        await seen.until(1, 2, 3)


async def test_a_consumer_of_a_queue_that_is_in_force_starts(make_app: MakeApp) -> None:
    app, seen = make_app(), Seen()
    jobs = app.queue("jobs")
    async with app.worker():
        await jobs.publish(1)
        jobs.consumer(name="late")(seen.append)
        await seen.until(1)


async def test_an_app_that_only_publishes_starts_no_consumer_and_no_schedule(make_app: MakeApp) -> None:
    app, seen = make_app(), Seen()
    jobs = app.queue("jobs")

    @jobs.task
    def known(number: int) -> None:
        seen.append(number)

    async with app:
        await known.publish(1)

        @jobs.task  # changes the consumer of the queue
        def later(number: int) -> None:
            seen.append(number)

        other = app.queue("other")
        other.consumer(name="late")(seen.append)
        app.schedules.add("often", other, every="1s", body=0)
        await later.publish(2)
        await other.publish(3)
        await app.reload()
        await asyncio.sleep(30)
        assert seen == []
        assert ((await jobs.depth()).ready, (await other.depth()).ready) == (2, 1)
        await app.start()
        async with asyncio.timeout(60):
            while not {0, 1, 2, 3} <= {*seen}:
                await asyncio.sleep(0.01)


async def test_a_schedule_is_listed_as_soon_as_it_is_declared(make_app: MakeApp) -> None:
    app = make_app()
    async with app:
        app.schedules.add("often", app.queue("jobs"), every="1h", body=0)
        assert [status.id for status in await app.schedules.list()] == ["app:often"]
        app.schedules.add("seldom", app.queue("jobs"), every="2h", body=0)
        assert await app.schedules.run_now("seldom")


async def test_a_schedule_fires(make_app: MakeApp) -> None:
    app, seen = make_app(), Seen()
    jobs = app.queue("jobs")
    jobs.consumer(name="handler")(seen.append)
    async with app.worker():
        app.schedules.add("tick", queue=jobs, every="1m", body="tick")
        await seen.until("tick")


async def test_a_task_is_known_before_its_first_call_comes(make_app: MakeApp) -> None:
    app, seen = make_app(), Seen()
    jobs = app.queue("jobs")

    @jobs.task
    def one(number: int) -> None:
        seen.append(number)

    async with app.worker():

        @jobs.task
        def two(number: int) -> None:
            seen.append(-number)

        await two.publish(7)
        await one.publish(7)
        await seen.until(7, -7)
        consumer = app._runtime.live().consumers["app:jobs.workers"]
        assert consumer.metrics.nacked == 0, "it was refused by a consumer that did not know it"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # threads need real time
async def test_a_handler_in_a_thread_declares(make_app: MakeApp) -> None:
    app, seen = make_app(), Seen()
    jobs = app.queue("jobs")

    def declare(body: int) -> None:
        late = app.queue("late")
        late.consumer(name="late_handler")(seen.append)
        app.sync.publish("late", body)

    jobs.consumer(name="declaring")(declare)
    async with app.worker():
        await jobs.publish(5)
        await seen.until(5)


async def test_a_declaration_that_cannot_be_applied_says_so_and_how_to_go_on(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    jobs = app.queue("jobs")
    async with app:
        other = app.queue("other", driver="nowhere")
        with caplog.at_level(logging.ERROR), pytest.raises(QueueNotFoundError, match=r"are not in force: .*nowhere"):
            await other.publish(1)
        assert "await app.reload()" in caplog.text
        await jobs.publish(1)  # the old version goes on


async def test_a_look_up_without_a_wait_names_the_way_out(make_app: MakeApp) -> None:
    app = make_app()
    app.queue("jobs")
    async with app:
        app.queue("other")
        with pytest.raises(QueueNotFoundError, match=r"await app\.reload\(\)"):
            app._runtime.queue("other")
        await app.reload()
        assert app._runtime.queue("other").id == "app:other"
        with pytest.raises(QueueNotFoundError, match=r"is not defined; did you mean .*\?$"):
            app._runtime.queue("never")


async def test_many_declarations_are_applied_together(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app, reloads = make_app(), 0
    app.queue("jobs")
    reload = app._runtime.reload

    async def counted() -> Any:
        nonlocal reloads
        reloads += 1
        return await reload()

    monkeypatch.setattr(app._runtime, "reload", counted)
    async with app:
        queues = [app.queue(f"q{number}", dead_letter=f"dead{number}") for number in range(50)]
        await queues[-1].publish(1)
        assert reloads == 1


async def test_an_app_that_closes_applies_nothing_more(make_app: MakeApp) -> None:
    app = make_app()
    app.queue("jobs")
    async with app:
        app.queue("late")
    async with app:
        await app.publish("late", 1)


async def test_a_declaration_within_a_test_app_is_refused(make_app: MakeApp) -> None:
    app = make_app()
    jobs = app.queue("jobs")
    async with TestApp(app):
        with pytest.raises(LifecycleError, match=r"declare this one before the TestApp opens"):
            app.queue("late")
        await jobs.publish(1)
