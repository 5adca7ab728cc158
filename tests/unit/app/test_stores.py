"""Stores from handlers and from the application: async, plain and in their own process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Context
from tasuki.app.host import ProjectHost
from tasuki.errors import HandlerError, LifecycleError, PolicyDeniedError
from tasuki.testing import TestApp
from tests.unit.app.test_sync import in_thread

pytestmark = pytest.mark.anyio

MakeApp = Callable[..., App]


def count_up(by: int, context: Context) -> list[Any]:
    """For a thread, or its own process."""
    store = context.sync.store("counts")
    entry = store.put("n", store.get("n", 0) + by)
    return [entry["value"], store.has("n"), store.list("n")["items"][0]["key"], store.info()["backend"]]


@pytest.fixture
def make_app(tmp_path: Path) -> MakeApp:
    """Real time, for there are threads and processes."""
    return lambda: App("memory://", root=tmp_path)


@pytest.fixture
def app(make_app: MakeApp) -> App:
    app = make_app()
    app.queue("tasks")
    app.entry("counts", "store.memory")

    @app.function()
    async def add(by: int, context: Context) -> Any:
        store = context.store("counts")
        await store.set("n", await store.get("n", 0) + by, ttl="1h")
        assert await store.delete("none") is False
        return await store.entry("n")

    @app.function()
    def add_plain(by: int, context: Context) -> list[Any]:
        return count_up(by, context)

    @app.function()
    async def wrong(context: Context) -> None:
        context.sync.store("counts")

    @app.function()
    def plain_wrong(context: Context) -> None:
        context.store("counts")

    @app.function()
    async def unknown(context: Context) -> None:
        context.store("none")

    app.entry(
        "isolated",
        "function.python",
        target="tests.unit.app.test_stores:count_up",
        isolation="process",
    )
    return app


async def test_handlers_and_the_application_share_a_store(app: App) -> None:
    counts = app.store("counts")
    with pytest.raises(LifecycleError, match="the app is not open"):
        await counts.get("n")
    async with app:
        assert await app.call("add", 2) == {"key": "n", "value": 2, "version": "1"}
        assert await app.call("add_plain", 3) == [5, True, "n", "memory"]
        assert await app.call("isolated", 4) == [9, True, "n", "memory"]
        assert await counts.get("n") == 9
        await counts.put("other", b"\xff", only_if_absent=True)
        assert [item["value"] for item in (await counts.list())["items"]] == [9, b"\xff"]
        assert (await counts.take("n", 2, rate=1, burst=1)).tokens == 1
        with pytest.raises(ValueError, match="ttl must be more than 0"):
            await counts.set("n", 1, ttl=0)


@pytest.mark.parametrize(
    ("function", "kind", "told"),
    [
        ("wrong", "Invalid", "context.sync would block the event loop: write 'await context.store('counts').get"),
        ("plain_wrong", "Invalid", "context.store is for async functions: write 'context.sync.store('counts')' here"),
        ("unknown", "NotFound", "resource 'app:none' is not defined"),
    ],
)
async def test_mistakes(app: App, function: str, kind: str, told: str) -> None:
    async with app:
        with pytest.raises(HandlerError) as raised:
            await app.call(function)
        assert (raised.value.kind, told in str(raised.value)) == (kind, True)


def test_code_without_an_event_loop(app: App) -> None:
    counts = app.sync.store("counts")
    assert counts.put("n", 1)["version"] == "1"
    counts.set("n", 2, ttl="5m")
    assert (counts.get("n"), counts.get("m", None), counts.has("m")) == (2, None, False)
    until = counts.hold("n", "me", lease="10s")
    assert until is not None
    assert counts.hold("n", "you", lease="10s") is None
    counts.release("n", "me")
    counts.give("n", 1, rate=1, burst=1)
    assert counts.entry("n")["value"] == 2
    assert counts.delete("n")
    app.sync.close()


async def test_a_plain_function_asks_on_the_loop_of_the_app(app: App) -> None:
    async with app:
        with pytest.raises(LifecycleError, match="would block the event loop"):
            app.sync.store("counts").get("n")
        await app.store("counts").set("n", 1)
        assert await asyncio.to_thread(app.sync.store("counts").get, "n") == 1


async def test_the_rights_of_the_application(make_app: MakeApp) -> None:
    app = make_app()
    app.entry("counts", "store.memory")
    app.entry("hidden", "store.memory")
    rights = {"actions": ["store.get", "store.key.set"], "resources": "app:counts", "effect": "allow"}
    app.entry("some", "security.policy", {"policy": rights})
    app.entry("config", "security.config", {"application": {"actor": {"id": "web"}, "policies": ["some"]}})
    async with app:
        await app.store("counts").set("n", 1)
        for refused in (app.store("counts").get("n"), app.store("counts").list(), app.store("hidden").set("n", 1)):
            with pytest.raises(PolicyDeniedError):
                await refused


async def test_a_twin_has_stores_in_memory(tmp_path: Path) -> None:
    app = App(root=tmp_path)
    queue = app.queue("tasks")
    app.entry("counts", "store.sqlite", driver="driver")

    @queue.consumer()
    async def handle(by: int, context: Context) -> None:
        store = context.store("counts")
        await store.set("n", await store.get("n", 0) + by, ttl="1h")

    @app.function()
    def plain(context: Context) -> Any:
        return context.sync.store("counts").get("n", None)

    async with TestApp(app) as t:
        await t.publish(queue, 2)
        await t.publish(queue, 3)
        await t.drain()
        assert await app.store("counts").get("n") == 5
        assert await app.call("plain") == 5
        await t.advance("2h")
        assert await app.call("plain") is None
        await app.store("counts").set("n", 1)
        t.broker_away("30s")
        with pytest.raises(HandlerError, match="the broker is unavailable") as raised:
            await app.store("counts").get("n")
        assert raised.value.kind == "Unavailable"
        await t.advance("31s")
        assert await app.store("counts").get("n") == 1
    assert not (tmp_path / ".tasuki").exists()


def test_a_twin_without_an_event_loop(tmp_path: Path) -> None:
    app = App(root=tmp_path)
    app.queue("tasks")
    app.entry("counts", "store.sqlite", driver="driver")
    with TestApp(app):
        app.sync.store("counts").set("n", 1)
        assert in_thread(lambda: app.sync.store("counts").get("n")) == 1


def test_a_plain_function_that_outlives_its_app() -> None:
    work = asyncio.sleep(0)
    with pytest.raises(HandlerError, match="the app is not open") as raised:
        ProjectHost().wait_for(work)
    assert raised.value.kind == "Unavailable"
