"""Records of all loggers within a handler say which message they are about, and no others do."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, LogFields
from tasuki.consumers.delivery import Delivery
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio

mine, library = logging.getLogger("shop.mails"), logging.getLogger("library.http")


class Kept(logging.Handler):
    """Keeps what passes its filter."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.addFilter(LogFields())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, text: str) -> dict[str, Any]:
        """The fields of the record with this message."""
        [found] = [vars(each) for each in self.records if each.getMessage() == text]
        names = ("consumer", "queue", "message_id", "attempt", "trace", "messages")
        return {name: found[name] for name in names if name in found}


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, root = Kept(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel("INFO")
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App("memory://", root=tmp_path)


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ABOUT = {"consumer": "app:handle.consumer", "queue": "app:tasks", "message_id": "m", "attempt": 1, "trace": TRACE}


async def handled(app: App, *bodies: Any) -> None:
    """Publish these, with a trace, and wait until they are done."""
    async with TestApp(app) as test:
        for number, body in enumerate(bodies):
            id = "m" if not number else f"m{number}"
            await app.publish("tasks", body, {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, id=id)
        await test.drain()


async def test_loggers_of_the_user_and_of_libraries_carry_the_message(app: App, kept: Kept) -> None:
    async def call() -> None:
        library.info("child")

    @app.queue("tasks").consumer()
    async def handle(body: Any) -> None:
        mine.info("mine")
        library.warning("library")
        await asyncio.gather(call())
        await asyncio.to_thread(library.info, "thread")
        mine.info("own", extra={"message_id": "its own"})

    await handled(app, 1)
    for text in ("mine", "library", "child", "thread"):
        assert kept.of(text) == ABOUT, text
    assert kept.of("own") == ABOUT | {"message_id": "its own"}


async def test_a_plain_function_carries_it_too(app: App, kept: Kept) -> None:
    @app.queue("tasks").consumer()
    def handle(body: Any) -> None:
        mine.info("mine in %s", threading.current_thread() is not threading.main_thread())

    await handled(app, 1)
    assert kept.of("mine in True") == ABOUT


async def test_each_message_has_its_own(app: App, kept: Kept) -> None:
    @app.queue("tasks").consumer(concurrency=3)
    async def handle(body: int) -> None:
        await asyncio.sleep(0.01)
        mine.info("body %s", body)

    await handled(app, *range(6))
    assert [kept.of(f"body {number}")["message_id"] for number in range(6)] == ["m", "m1", "m2", "m3", "m4", "m5"]


async def test_a_batch_says_how_many_messages_it_has(app: App, kept: Kept) -> None:
    @app.queue("tasks").consumer(batch={"size": 3, "wait": "1s"})
    async def handle(bodies: list[Any]) -> None:
        mine.info("batch")

    await handled(app, 1, 2, 3)
    assert kept.of("batch") == {"consumer": "app:handle.consumer", "queue": "app:tasks", "messages": 3}


async def test_what_outlives_its_handler_and_what_runs_beside_it_carry_none(app: App, kept: Kept) -> None:
    over, left = asyncio.Event(), list[asyncio.Task[None]]()

    async def stray() -> None:
        await over.wait()
        mine.info("stray")

    @app.queue("tasks").consumer()
    async def handle(body: Any) -> None:
        left.append(asyncio.create_task(stray()))
        mine.info("in time")

    await handled(app, 1)
    over.set()
    await asyncio.gather(*left)
    mine.info("beside")
    assert kept.of("in time") == ABOUT
    assert kept.of("stray") == kept.of("beside") == {}


async def test_our_own_loggers_say_it_themselves(app: App, kept: Kept) -> None:
    @app.queue("tasks").consumer()
    async def handle(body: Any) -> None:
        logging.getLogger("tasuki.postgres").info("connected")

    await handled(app, 1)
    assert kept.of("connected") == {}


async def test_an_idle_worker_keeps_no_message(app: App) -> None:
    @app.queue("tasks").consumer()
    async def handle(body: Any) -> None: ...

    async with TestApp(app) as test:
        job = await app.publish("tasks", 1)
        await test.drain()
        gc.collect()
        assert not [each for each in gc.get_objects() if type(each) is Delivery and each.received.id == job.id]
