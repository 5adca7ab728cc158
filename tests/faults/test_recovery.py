"""A broker that comes back after a while: who waited for it goes on after one more attempt, however long that was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.errors import DriverError
from tests.e2e.projects import write
from tests.support.brokers.broker import Broker
from tests.support.brokers.everywhere import broker_of, overrides
from tests.support.narrow import present

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: tasks, kind: queue.queue, driver: driver}
  - {name: handle, kind: function.python, source: file://handle.py, method: handle}
  - {name: worker, kind: queue.consumer, queue: tasks, func: handle, lifecycle: {auto_start: true}}
"""
HANDLE = "async def handle(body):\n    pass\n"
ATTEMPTS = 6
"""After this many failures the pauses have come to their longest."""


@pytest.fixture(params=["amqp", "redis", "postgres", "nats", "sqs"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}")


def app_on(driver: str, folder: Path) -> tuple[App, Broker]:
    broker = broker_of(driver)
    assert broker is not None
    write(folder, {"_index.yaml": PROJECT, "handle.py": HANDLE})
    name = f"app:tasks:queue_name=tasks_{uuid4().hex[:8]}"
    return App.load(folder, overrides=[*overrides(driver, "app:driver", folder), name]), broker


async def publishes(app: App, body: str) -> None:
    """Until the broker has it."""
    for _ in range(1000):
        try:
            await app.queue("app:tasks").publish(body)
        except DriverError:
            await asyncio.sleep(0.05)
        else:
            return


def acked(app: App) -> int:
    assert app._runtime.assembly is not None
    return app._runtime.assembly.consumers["app:worker"].metrics.acked


@pytest.mark.parametrize("driver", ["amqp", "redis", "postgres", "nats"], indirect=True)  # the emulator of SQS forgets
async def test_a_worker_that_lost_its_broker_goes_on_when_it_is_back(driver: str, tmp_path: Path) -> None:
    app, broker = app_on(driver, tmp_path)
    async with app:
        await app.start()
        await publishes(app, "before")
        await until(lambda: acked(app) == 1, "the first message")
        assert app._runtime.assembly is not None
        fetcher = present(app._runtime.assembly.consumers["app:worker"].run).fetcher
        broker.sync()
        await asyncio.to_thread(broker.kill)
        try:
            await until(lambda: fetcher.failures >= ATTEMPTS, "the pauses to grow")
        finally:
            await asyncio.to_thread(broker.start)
        await publishes(app, "after")
        await until(lambda: acked(app) == 2, "the second message")


async def test_a_worker_that_was_started_without_its_broker_begins_when_it_is_there(
    driver: str, tmp_path: Path
) -> None:
    app, broker = app_on(driver, tmp_path)
    await asyncio.to_thread(broker.stop)
    try:
        starting = asyncio.create_task(app.start())
        await until(lambda: app._runtime.supervisor.states().get("app:driver", None) is not None, "the start")
        await until(lambda: app._runtime.supervisor.states()["app:driver"].failures >= 3, "the pauses to grow")
        assert not starting.done()
    finally:
        await asyncio.to_thread(broker.start)
    failures = app._runtime.supervisor.states()["app:driver"].failures
    try:
        await starting
        assert app._runtime.supervisor.states()["app:driver"].failures <= failures + 1, "one more attempt"
        await publishes(app, "first")
        await until(lambda: acked(app) == 1, "the message")
    finally:
        await app.close()


async def test_a_publisher_that_was_opened_without_its_broker_publishes_when_it_is_there(
    driver: str, tmp_path: Path
) -> None:
    app, broker = app_on(driver, tmp_path)
    await asyncio.to_thread(broker.stop)
    is_back = False
    try:
        async with app:
            await until(lambda: app._runtime.supervisor.states()["app:driver"].failures >= 3, "the pauses to grow")
            await asyncio.to_thread(broker.start)
            is_back = True
            await publishes(app, "first")
            assert (await app.queue("app:tasks").depth()).ready == 1
    finally:
        if not is_back:
            await asyncio.to_thread(broker.start)
