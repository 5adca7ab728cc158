"""What observers hear, and that they cost nothing and break nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest

from tasuki import App, Observer, Retry
from tasuki.contracts.context import Facts
from tasuki.contracts.driver import Outgoing, Receipt, Settlement
from tasuki.errors import DriverError

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

MakeApp = Callable[..., App]


class Everything(Observer):
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.facts: list[Facts] = []
        self.stale: list[Receipt] = []

    def on_publish(self, queue: str, messages: Sequence[Outgoing], errors: Sequence[DriverError | None]) -> None:
        self.heard.append(("publish", queue, [message.body for message in messages], list(errors)))

    def on_start(self, facts: Facts) -> None:
        self.facts.append(facts)
        self.heard.append(("start", facts.function, facts.consumer, facts.queue, facts.attempt))

    def on_end(self, facts: Facts, seconds: float, error: BaseException | None) -> None:
        assert facts is self.facts[-1]
        self.heard.append(("end", round(seconds, 6), error))

    def on_settled(self, consumer: str, batch: Sequence[Settlement], stale: Collection[Receipt]) -> None:
        self.stale += stale
        self.heard.append(("settled", consumer, [type(each).__name__ for each in batch]))


async def handled(app: App) -> None:
    while (await app._runtime.queue("tasks").info())["message_count"]:
        await asyncio.sleep(0.01)


async def test_they_hear_of_each_publish_start_end_and_settlement(make_app: MakeApp) -> None:
    app, observer, signal = make_app(), Everything(), Retry(after=5)
    app.observers.append(observer)

    @app.queue("tasks").consumer
    async def handle(body: int) -> None:
        await asyncio.sleep(2)
        if len(observer.facts) == 1:
            raise signal

    async with app.worker():
        await app.publish("tasks", 7)
        await handled(app)
    start = ("start", "app:handle", "app:handle.consumer", "app:tasks")
    assert observer.heard == [
        ("publish", "app:tasks", [b"7"], [None]),
        (*start, 1),
        ("end", 2.0, signal),
        ("settled", "app:handle.consumer", ["Nack"]),
        (*start, 2),
        ("end", 2.0, None),
        ("settled", "app:handle.consumer", ["Ack"]),
    ]


async def test_a_batch_is_reported_as_one(make_app: MakeApp) -> None:
    app, observer = make_app(), Everything()
    app.observers.append(observer)
    queue = app.queue("tasks", max_length=2, overflow="reject")
    async with app:
        await queue.publish_many([1, 2])
        await queue.publish_many([3])
    (_, _, bodies, errors), (_, _, _, (full,)) = observer.heard
    assert (bodies, errors) == ([b"1", b"2"], [None, None])
    assert isinstance(full, DriverError)


async def test_only_methods_that_are_overridden_are_called(make_app: MakeApp) -> None:
    app = make_app()
    app.observers.append(Observer())

    @app.queue("tasks").consumer
    async def handle(body: int) -> None: ...

    async with app.worker():
        assert app._runtime.assembly is not None
        (consumer,), (queue,) = app._runtime.assembly.consumers.values(), app._runtime.assembly.queues.values()
        assert consumer.run is not None
        callee = consumer.run.executor._callee
        assert callee is not None
        assert callee.handle == consumer.handler.handle
        assert consumer.run.settler.on_settled == consumer.run._on_settled
        assert queue._batcher.on_batch is None


async def test_an_error_of_one_reaches_no_message_and_is_logged_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Observer):
        def on_publish(self, *args: Any) -> None:
            raise ValueError("boom")

        def on_start(self, *args: Any) -> None:
            raise ValueError("boom")

        on_end = on_settled = on_start  # type: ignore[assignment]

    app, observer = make_app(), Everything()
    app.observers.extend([Broken(), observer])

    @app.queue("tasks").consumer
    async def handle(body: int) -> None: ...

    async with app.worker():
        with caplog.at_level(logging.ERROR, "tasuki.observer"):
            await app.queue("tasks").publish_many([1, 2, 3])
            await handled(app)
        assert app._runtime.assembly is not None
        (consumer,) = app._runtime.assembly.consumers.values()
        assert (consumer.metrics.acked, consumer.metrics.failed) == (3, 0)
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        f"observer Broken fails in {method}" for method in ("on_publish", "on_start", "on_end", "on_settled")
    ]
    assert len(observer.facts) == 3


async def test_a_settlement_that_came_too_late_is_stale(make_app: MakeApp) -> None:
    app, observer = make_app(), Everything()
    app.observers.append(observer)

    @app.queue("tasks").consumer
    async def handle(body: int) -> None:
        if not observer.stale and len(observer.facts) == 1:
            driver = app._runtime.queue("tasks").driver
            await driver.close()  # so that the message is handed out again
            await driver.open()

    async with app.worker():
        await app.publish("tasks", 1)
        await handled(app)
        await asyncio.sleep(1)
    settled = [heard[2] for heard in observer.heard if heard[0] == "settled"]
    assert (settled, len(observer.stale)) == ([["Ack"], ["Ack"]], 1)


async def test_a_reload_keeps_them(make_app: MakeApp) -> None:
    app, observer = make_app(), Everything()
    app.observers.append(observer)
    app.queue("tasks")
    async with app:
        await app.reload()
        await app.publish("tasks", 1)
    assert [heard[0] for heard in observer.heard] == ["publish"]
