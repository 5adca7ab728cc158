"""The flight recorder of an app: dumped here, and asked for from other processes."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tasuki import App, Context
from tasuki.app.health.blocked import events_of
from tasuki.app.lifecycle.running import dump
from tasuki.contracts.driver import Outgoing
from tasuki.state.recorder_requests import WorkerAddress, ask
from tests.support.narrow import present

pytestmark = pytest.mark.anyio

VIRTUAL_TIME = True

HERE = WorkerAddress(socket.gethostname(), os.getpid())


async def test_each_consumer_answers_and_nothing_is_left_in_the_store(make_app: Callable[..., App]) -> None:
    app = make_app()

    @app.queue("tasks").consumer(name="one")
    async def handle(body: Any) -> None:
        return None

    app.queue("other").consumer(name="two")(handle)
    async with app.worker():
        await asyncio.sleep(1)
        await app.publish("tasks", 1)
        await asyncio.sleep(1)
        store = await present(present(app._runtime.assembly).state_of("app:tasks")).store()
        found = await ask(store, HERE, {"app:one", "app:two"}, 3)
        assert [event["kind"] for event in found["app:one"]] == ["started", "ended", "settled"]
        assert found["app:two"] == []
        left = [entry.key for entry in (await store.list()).entries]
        assert not [key for key in left if "ask/" in key or "answer/" in key]


async def test_quit_prints_the_newest_events_and_what_runs(
    make_app: Callable[..., App], capsys: pytest.CaptureFixture[str]
) -> None:
    app, end = make_app(), asyncio.Event()

    @app.queue("tasks").consumer(name="one")
    async def handle(body: int) -> None:
        if body:
            await end.wait()
        raise ValueError("no")

    async with app.worker():
        await app.publish("tasks", 0)
        await asyncio.sleep(0.1)
        queue = app._runtime.queue("tasks")
        await queue.driver.publish(queue.spec.name, [Outgoing("\x1b[2J\nforged", b"1", {})])  # by another program
        await asyncio.sleep(0.1)
        dump(app._runtime, None)
        kinds = [event["kind"] for event in events_of(app._runtime)["app:one"]]
        end.set()
    assert kinds == ["received", "started", "ended", "error", "settled", "received", "started"]
    told = capsys.readouterr().err
    assert "the newest events of app:one:\n" in told
    assert "message \\x1b[2J\\nforged, attempt 1\n" in told
    assert "\x1b" not in told
    assert "error" in told


async def test_what_a_consumer_goes_through(make_app: Callable[..., App]) -> None:
    app = make_app()

    @app.queue("tasks", result={"ttl": "1h"}).consumer(name="one", handler_timeout="1s")
    async def handle(body: int, context: Context) -> None:
        context.progress(1, 2)
        await asyncio.sleep(10)

    async with app.worker():
        await asyncio.sleep(0.1)
        await app.publish("tasks", 0)
        await asyncio.sleep(5)
        await app.workers.pause("tasks", actor="kana")
        await asyncio.sleep(1)
        await app.workers.resume("tasks")
        await asyncio.sleep(1)
        events = events_of(app._runtime, 1000)["app:one"]
    told = {event["kind"]: event["value"] for event in events}
    assert told["progress"] == "1 of 2"
    assert told["paused"] == "until it is resumed, by kana"
    assert {"timeout", "resumed", "error", "ended"} <= told.keys()
