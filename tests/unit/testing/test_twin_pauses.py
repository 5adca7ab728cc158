"""TestApp obeys pauses: paused messages stay, time ends a pause, and the summary says why a message waits."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki import App, Context
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio


@pytest.fixture
def handled() -> list[Any]:
    return []


@pytest.fixture
def app(handled: list[Any]) -> App:
    app = App("memory://")
    mails = app.queue("mails")

    @mails.consumer(name="sender", concurrency=4)
    async def send(body: Any, context: Context) -> None:
        handled.append(body)
        if body == "429":
            await context.queues.pause("mails", "10m", reason="429")

    return app


async def test_a_drain_leaves_what_is_paused(app: App, handled: list[Any]) -> None:
    async with TestApp(app) as t:
        await t.publish("mails", 1)
        await app.workers.pause("mails", reason="maintenance", actor="kana")
        assert (await t.drain()).done == 0
        assert [each.body for each in t.waiting("mails")] == [1]
        with pytest.raises(AssertionError, match="it is paused until it is resumed, by kana: maintenance"):
            t.idle()
        assert (await app._runtime.queue("mails").info())["paused"]["actor"] == "kana"
        await app.workers.resume("mails")
        with pytest.raises(AssertionError, match="it is ready: drain"):
            t.idle()
        assert (await t.drain()).done == 1
    assert handled == [1]


async def test_time_ends_a_pause_that_a_handler_made(app: App, handled: list[Any]) -> None:
    async with TestApp(app) as t:
        for body in ("429", "a", "b", "c", "d", "e", "f"):
            await t.publish("mails", body)
        await t.drain()
        assert "f" not in handled
        paused = len(handled)
        await t.advance("9m")
        assert len(handled) == paused
        await t.advance("2m")
        assert sorted(handled) == ["429", "a", "b", "c", "d", "e", "f"]


async def test_scaled_to_0(app: App, handled: list[Any]) -> None:
    async with TestApp(app) as t:
        await app.workers.scale("sender", 0)
        await t.publish("mails", 1)
        assert (await t.drain()).done == 0
        with pytest.raises(AssertionError, match="scaled to 0"):
            t.idle()
        await app.workers.scale("sender", None)
        assert (await t.drain()).done == 1


async def test_with_real_drivers(app: App, handled: list[Any]) -> None:
    async with TestApp(app, real=True) as t:
        await app.workers.pause("mails")
        await t.publish("mails", 1)
        assert (await t.drain()).done == 0
        await app.workers.resume("mails")
        assert (await t.drain()).done == 1


def test_without_an_event_loop(app: App, handled: list[Any]) -> None:
    with TestApp(app) as t:
        app.sync.workers.pause("mails", "5m")
        app.sync.publish("mails", 1)
        assert t.sync.drain().done == 0
        assert app.sync.workers.resume("mails") is not None
        assert t.sync.drain().done == 1
