"""Sleeps and waits in virtual time: a sleep of days takes no time, and a test gives the signals."""

from __future__ import annotations

import pytest

from tasuki import App, Context, Message
from tasuki.errors import WaitTimeoutError
from tasuki.testing import RecordingContext, TestApp

pytestmark = pytest.mark.anyio


def shop() -> tuple[App, list[str]]:
    app, done = App("memory://"), list[str]()
    orders = app.queue("orders")

    @orders.consumer
    async def handle(order: int, context: Context) -> None:
        await context.step("ask", done.append, f"ask {order}")
        approved = await context.wait_for("approved", order, "7d", default=False)
        await context.step("note", done.append, f"{order}: {approved}")
        await context.sleep("3d")
        done.append(f"thank {order}")

    return app, done


async def test_days_take_no_time() -> None:
    app, done = shop()
    async with TestApp(app, strict=True) as t:
        await app.publish("orders", 1)
        await app.publish("orders", 2)
        await t.drain()
        assert done == ["ask 1", "ask 2"]
        await t.advance("2d")
        await app.signal("approved", 2, True)
        await t.drain()
        assert done[2:] == ["2: True"]
        await t.advance("2d23h")
        assert done[2:] == ["2: True"]
        await t.advance("1h")
        assert done[3:] == ["thank 2"]
        await t.advance("30d")
        assert done[4:] == ["1: False", "thank 1"]


def test_days_take_no_time_without_a_loop() -> None:
    app, done = shop()
    with TestApp(app) as t:
        t.sync.publish("orders", 1)
        t.sync.drain()
        app.sync.signal("approved", 1, True)
        t.sync.advance("4d")
    assert done == ["ask 1", "1: True", "thank 1"]


async def test_a_killed_worker_sleeps_no_longer() -> None:
    app, done = shop()
    async with TestApp(app) as t:
        await app.publish("orders", 1)
        await app.signal("approved", 1, True)
        t.kill_worker("orders")
        await t.drain()
        await t.advance("3d1h")
    assert done[-1] == "thank 1"


async def test_a_handler_alone() -> None:
    context = RecordingContext(Message("1", b"7", {}))
    context.signals["approved", 7] = {"by": "kana"}
    await context.sleep("3d")
    await context.sleep("3d", name="rest")
    assert await context.wait_for("approved", 7, "1d") == {"by": "kana"}
    assert await context.wait_for("paid", 7, "1d", default=None) is None
    with pytest.raises(WaitTimeoutError):
        await context.wait_for("shipped", 7, "1d")
    assert await context.signal("done", 7)
    assert context.signalled == [("done", 7, True)]
    assert list(context.steps) == ["sleep 1", "rest", "wait approved 7", "wait paid 7", "wait shipped 7"]
