"""The same handlers on the store of each driver: Python async, Python plain, Python in its own process, and Lua."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.errors import HandlerError
from tests.e2e.projects import write
from tests.support.brokers.everywhere import overrides

pytestmark = pytest.mark.anyio

STORES = ("memory", "sqlite", "postgres", "redis", "nats")

PROJECT = """
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: counts, STORE}
  - {name: async_add, kind: function.python, source: file://work.py, method: add}
  - {name: plain_add, kind: function.python, source: file://work.py, method: plain_add}
  - {name: isolated_add, kind: function.python, source: file://work.py, method: plain_add, isolation: process}
  - {name: lua_add, kind: function.lua, source: file://add.lua, modules: [store]}
  - {name: async_tour, kind: function.python, source: file://work.py, method: tour}
  - {name: plain_tour, kind: function.python, source: file://work.py, method: plain_tour}
  - {name: isolated_tour, kind: function.python, source: file://work.py, method: tour, isolation: process}
  - {name: lua_tour, kind: function.lua, source: file://tour.lua, modules: [store]}
"""

WORK = """
from tasuki import Context
from tasuki.errors import HandlerError

CHANGED = ("AlreadyExists", "Conflict", "NotFound")
VALUES = [True, 1, -2.5, 1.0, "日本", b"\\xff", [], [1, [2]], {"a": {"b": [None, 1]}}]


async def add(times: int, context: Context):
    store = context.store("counts")
    for _ in range(times):
        while True:
            try:
                entry = await store.entry("n")
                await store.put("n", entry["value"] + 1, if_version=entry["version"])
                break
            except HandlerError as error:
                if error.kind not in CHANGED:
                    raise


def plain_add(times: int, context: Context):
    store = context.sync.store("counts")
    for _ in range(times):
        while True:
            try:
                entry = store.entry("n")
                store.put("n", entry["value"] + 1, if_version=entry["version"])
                break
            except HandlerError as error:
                if error.kind not in CHANGED:
                    raise


async def tour(name: str, context: Context):
    store, kinds = context.store("counts"), []
    for number, value in enumerate(VALUES):
        await store.set(f"{name}/{number}", value, ttl="1h")
        assert repr(await store.get(f"{name}/{number}")) == repr(value)
    page = await store.list(f"{name}/", limit=4)
    rest = await store.list(f"{name}/", after=page["cursor"])
    assert [repr(item["value"]) for item in page["items"] + rest["items"]] == [repr(value) for value in VALUES]
    first = await store.put(f"{name}/new", {"n": 1}, only_if_absent=True)
    second = await store.put(f"{name}/new", {"n": 2}, if_version=first["version"])
    assert int(second["version"]) > int(first["version"])
    for refused in (
        store.put(f"{name}/new", 1, only_if_absent=True),
        store.put(f"{name}/new", 1, if_version=first["version"]),
        store.put(f"{name}/none", 1, if_version=1),
        store.get(f"{name}/none"),
        store.set(f"{name}/new", {1, 2}),
        store.get("k" * 513),
    ):
        try:
            await refused
        except HandlerError as error:
            kinds.append(error.kind)
    taken = await store.take(f"{name}/bucket", 5, rate=0.001, burst=3)
    until = await store.hold(f"{name}/place", "me", lease="20s")
    other = await store.hold(f"{name}/place", "you", lease="20s")
    await store.release(f"{name}/place", "me")
    async with store.holding(f"{name}/place", lease="20s", wait="10s"):
        assert await store.hold(f"{name}/place", "you", lease="20s") is None
    gone = [await store.delete(f"{name}/0"), await store.delete(f"{name}/0"), await store.has(f"{name}/0")]
    info = await store.info()
    return [kinds, taken.tokens, until is not None, other, gone, info["consistency"], info["durable"]]


def plain_tour(name: str, context: Context):
    store, kinds = context.sync.store("counts"), []
    for number, value in enumerate(VALUES):
        store.set(f"{name}/{number}", value, ttl="1h")
        assert repr(store.get(f"{name}/{number}")) == repr(value)
    page = store.list(f"{name}/", limit=4)
    rest = store.list(f"{name}/", after=page["cursor"])
    assert [repr(item["value"]) for item in page["items"] + rest["items"]] == [repr(value) for value in VALUES]
    first = store.put(f"{name}/new", {"n": 1}, only_if_absent=True)
    store.put(f"{name}/new", {"n": 2}, if_version=first["version"])
    for refused in (
        lambda: store.put(f"{name}/new", 1, only_if_absent=True),
        lambda: store.put(f"{name}/new", 1, if_version=first["version"]),
        lambda: store.put(f"{name}/none", 1, if_version=1),
        lambda: store.get(f"{name}/none"),
        lambda: store.set(f"{name}/new", {1, 2}),
        lambda: store.get("k" * 513),
    ):
        try:
            refused()
        except HandlerError as error:
            kinds.append(error.kind)
    taken = store.take(f"{name}/bucket", 5, rate=0.001, burst=3)
    until = store.hold(f"{name}/place", "me", lease="20s")
    other = store.hold(f"{name}/place", "you", lease="20s")
    store.release(f"{name}/place", "me")
    gone = [store.delete(f"{name}/0"), store.delete(f"{name}/0"), store.has(f"{name}/0")]
    info = store.info()
    return [kinds, taken.tokens, until is not None, other, gone, info["consistency"], info["durable"]]
"""

ADD = """
local store = require("store")
return function(times)
  local counts = store.get("counts")
  for _ = 1, times do
    local written
    repeat
      local entry, problem = counts:entry("n")
      if not entry then error(problem) end
      written, problem = counts:put("n", entry.value + 1, {if_version = entry.version})
      if not written and problem:kind() ~= "Conflict" then error(problem) end
    until written
  end
end
"""

TOUR = """
local store = require("store")
local values = {true, 1, -2.5, 1.0, "日本", "\\xff", {}, {1, {2}}, {a = {b = 1}}}
local function shown(value)
  if type(value) ~= "table" then return (math.type(value) or type(value)) .. tostring(value) end
  local parts = {}
  for key, item in pairs(value) do parts[#parts + 1] = tostring(key) .. "=" .. shown(item) end
  return "{" .. table.concat(parts, ",") .. "}"
end
return function(name)
  local counts, kinds = store.get("counts"), {}
  for number, value in ipairs(values) do
    local key = name .. "/" .. number
    assert(counts:set(key, value, 3600))
    assert(shown(counts:get(key)) == shown(value), shown(value))
  end
  local page = assert(counts:list({prefix = name .. "/", limit = 4}))
  local rest = assert(counts:list({prefix = name .. "/", after = page.cursor}))
  assert(#page.items == 4 and page.has_more and #rest.items == 5 and not rest.has_more)
  local new = name .. "/new"
  local first = assert(counts:put(new, {n = 1}, {only_if_absent = true}))
  assert(counts:put(new, {n = 2}, {if_version = first.version}))
  local function refused(_, problem) kinds[#kinds + 1] = problem:kind() end
  refused(counts:put(new, 1, {only_if_absent = true}))
  refused(counts:put(new, 1, {if_version = first.version}))
  refused(counts:put(name .. "/none", 1, {if_version = 1}))
  refused(counts:get(name .. "/none"))
  refused(counts:set(new, nil))
  refused(counts:get(("k"):rep(513)))
  local gone = {counts:delete(name .. "/1"), (counts:delete(name .. "/1")), (counts:has(name .. "/1"))}
  local info = counts:info()
  return {kinds, gone, info.consistency, info.durable}
end
"""


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def app(kind: str, tmp_path: Path) -> App:
    name = f"counts-{uuid4().hex[:8]}"
    store = "kind: store.memory" if kind == "memory" else f"kind: store.{kind}, driver: driver, store_name: {name}"
    files = {"_index.yaml": PROJECT.replace("STORE", store), "work.py": WORK, "add.lua": ADD, "tour.lua": TOUR}
    return App.load(write(tmp_path, files), overrides=overrides(kind, "app:driver", tmp_path))


async def test_counters_of_every_language_lose_nothing(app: App, kind: str) -> None:
    async with app:
        await app.store("app:counts").set("n", 0)
        async with asyncio.timeout(60):
            await asyncio.gather(
                *(app.call(f"app:{how}_add", 5) for how in ("async", "plain", "isolated", "lua") for _ in range(2))
            )
        assert await app.store("app:counts").get("n") == 40
    again = App.load(app._runtime.root, overrides=app._runtime.overrides)
    async with again:
        assert await again.store("app:counts").get("n", None) == (None if kind == "memory" else 40)


async def test_what_handlers_put_comes_back(app: App, kind: str) -> None:
    consistency, durable = ("local", False) if kind == "memory" else ("linearizable", True)
    refused = ["AlreadyExists", "Conflict", "NotFound", "NotFound", "Invalid", "Invalid"]
    async with app:
        assert await app.call("app:lua_tour", "lua") == [refused, [True, False, False], consistency, durable]
        for how in ("async", "plain", "isolated"):
            told = await app.call(f"app:{how}_tour", how)
            assert told == [refused, 3, True, None, [True, False, False], consistency, durable], how
        with pytest.raises(HandlerError, match="key not found"):
            await app.store("app:counts").get("none")
        if kind != "memory":
            with pytest.raises(HandlerError, match=r"'large' has 1048\d\d\d bytes, and may have \d+ at most") as raised:
                await app.store("app:counts").set("large", "x" * 2**20)
            assert raised.value.kind == "Invalid"
