"""A store whose broker is killed: its handlers learn of it within a bound, and find their entries when it is back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.errors import HandlerError
from tests.e2e.projects import write
from tests.support.brokers.broker import Broker
from tests.support.brokers.everywhere import broker_of, overrides

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

PROJECT = """
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: counts, kind: store.KIND, driver: driver, store_name: NAME}
  - {name: python, kind: function.python, source: file://read.py, method: read}
  - {name: plain, kind: function.python, source: file://read.py, method: read_plain}
  - {name: lua, kind: function.lua, source: file://read.lua, modules: [store]}
"""
PYTHON = """
from tasuki import Context
from tasuki.errors import HandlerError


async def read(key, context: Context):
    try:
        return await context.store("counts").get(key)
    except HandlerError as error:
        return [error.kind, error.retryable]


def read_plain(key, context: Context):
    try:
        return context.sync.store("counts").get(key)
    except HandlerError as error:
        return [error.kind, error.retryable]
"""
LUA = """
local store = require("store")
return function(key)
  local value, problem = store.get("app:counts"):get(key)
  return value or {problem:kind(), problem:retryable()}
end
"""
FUNCTIONS = ("python", "plain", "lua")
BOUND = 60.0
"""Seconds within which each call must end, on a busy machine."""


@pytest.fixture(params=["redis", "postgres", "nats"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def app_on(kind: str, folder: Path) -> tuple[App, Broker]:
    broker = broker_of(kind)
    assert broker is not None
    entries = PROJECT.replace("KIND", kind).replace("NAME", f"counts-{uuid4().hex[:8]}")
    write(folder, {"_index.yaml": entries, "read.py": PYTHON, "read.lua": LUA})
    return App.load(folder, overrides=overrides(kind, "app:driver", folder)), broker


async def reads(app: App) -> list[Any]:
    async with asyncio.timeout(BOUND):
        return [await app.call(f"app:{function}", "n") for function in FUNCTIONS]


async def test_handlers_get_an_error_and_go_on(kind: str, tmp_path: Path) -> None:
    app, broker = app_on(kind, tmp_path)
    async with app:
        counts = app.store("app:counts")
        await counts.set("n", 7)
        assert await reads(app) == [7] * 3
        broker.sync()
        await asyncio.to_thread(broker.kill)
        try:
            for told in await reads(app):
                assert told in (["Unavailable", True], ["Timeout", True])
            with pytest.raises(HandlerError) as raised:
                async with counts.holding("n", lease="5s"):
                    pytest.fail("there is no broker")
            assert raised.value.kind in ("Unavailable", "Timeout")
        finally:
            await asyncio.to_thread(broker.start)
        async with asyncio.timeout(BOUND):
            while await reads(app) != [7] * 3:
                await asyncio.sleep(0.05)
        written = await counts.put("n", 8, if_version=(await counts.entry("n"))["version"])
        assert written["value"] == 8


async def test_a_store_that_is_first_used_without_its_broker(kind: str, tmp_path: Path) -> None:
    app, broker = app_on(kind, tmp_path)
    async with app:
        await asyncio.to_thread(broker.kill)
        try:
            for told in await reads(app):
                assert told in (["Unavailable", True], ["Timeout", True])
        finally:
            await asyncio.to_thread(broker.start)
        async with asyncio.timeout(BOUND):
            while await reads(app) != [["NotFound", False]] * 3:
                await asyncio.sleep(0.05)
