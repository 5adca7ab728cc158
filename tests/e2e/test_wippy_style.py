"""Applications as they are written for Wippy today run unchanged: their YAML, their Lua, their folders."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.errors import ProjectError, QueueFullError
from tests.e2e.projects import write

pytestmark = pytest.mark.anyio

# Names without a namespace are of the entry's own; options lie in the driver's bag; the body's codec is named.
INDEX = """\
version: "1.0"
namespace: app

entries:
  - name: driver
    kind: queue.driver.memory
    lifecycle:
      auto_start: true

  - name: orders
    kind: queue.queue
    driver: driver
    codec: json/plain
    driver_options:
      memory:
        max_length: 3
      amqp:
        durable: true
    retry:
      initial_delay: 10ms

  - name: done
    kind: queue.queue
    driver: app:driver

  - name: orders_consumer
    kind: queue.consumer
    queue: orders
    func: handle
    concurrency: ${env:ORDERS_CONCURRENCY|2}
    lifecycle:
      auto_start: true
      depends_on:
        - app:orders

  - name: handle
    kind: function.lua
    source: file://handle.lua
    method: main
    modules: [queue, logger, json]
    imports:
      pricing: pricing

  - name: pricing
    kind: library.lua
    source: file://lib/pricing.lua
"""

HANDLE = """\
local queue = require("queue")
local logger = require("logger")
local pricing = require("pricing")

local function main(order)
    local msg, err = queue.message()
    if err then
        return nil, err
    end
    logger:info("order", {order_id = order.id})
    queue.publish("done", {
        id = order.id,
        total = pricing.total(order.lines),
        message_id = msg:id(),
        tenant = msg:header("tenant"),
    })
    return true
end

return { main = main }
"""

PRICING = """\
local M = {}

function M.total(lines)
    local sum = 0
    for _, line in ipairs(lines) do
        sum = sum + line.price * line.count
    end
    return sum
end

return M
"""

FILES = {"_index.yaml": INDEX, "handle.lua": HANDLE, "lib/pricing.lua": PRICING}
ORDER = {"id": "o-1", "lines": [{"price": 3, "count": 2}, {"price": 5, "count": 1}]}


async def bodies(app: App, name: str, count: int) -> list[Any]:
    """The bodies of a queue without a consumer, once it holds that many."""
    queue = app._runtime.queue(name)
    async with asyncio.timeout(60):
        while (await queue.info())["message_count"] < count:
            await asyncio.sleep(0.005)
    return [queue.decode(message) for message in await queue.peek(count + 1)]


async def empty(app: App, name: str) -> None:
    async with asyncio.timeout(60):
        while (await app._runtime.queue(name).info())["message_count"]:
            await asyncio.sleep(0.005)


async def outcome(folder: Path, handler: str) -> list[Any]:
    """What a handler publishes to ``done`` about one order, until the order is settled."""
    app = App.load(write(folder, {**FILES, "handle.lua": handler}))
    async with app.worker():
        await app.publish("app:orders", ORDER)
        await empty(app, "app:orders")
        return await bodies(app, "app:done", 1)


async def test_a_table_with_main_a_library_and_the_message(tmp_path: Path) -> None:
    app = App.load(write(tmp_path, FILES))
    async with app.worker():
        confirmed = await app.publish("app:orders", ORDER, {"tenant": "acme"})
        assert await bodies(app, "app:done", 1) == [
            {"id": "o-1", "total": 11, "message_id": confirmed.id, "tenant": "acme"}
        ]
        await empty(app, "app:orders")


async def test_a_message_is_settled_once(tmp_path: Path) -> None:
    handler = """\
local queue = require("queue")

return { main = function(order)
    local msg = queue.message()
    local first, first_error = msg:ack()
    local second, err = msg:ack()
    queue.publish("done", {
        first = first, first_error = first_error, second = second == nil,
        kind = err:kind(), text = err:message(), retryable = err:retryable(),
    })
    return false  -- too late: it is settled
end }
"""
    assert await outcome(tmp_path, handler) == [
        {
            "first": True,
            "second": True,
            "kind": "Invalid",
            "text": "queue.Message already settled",
            "retryable": False,
        }
    ]


async def test_false_and_a_raised_error_come_back(tmp_path: Path) -> None:
    handler = """\
local queue = require("queue")
local tries = 0

return { main = function(order)
    tries = tries + 1
    if tries == 1 then
        return false
    end
    if tries == 2 then
        error("broken")
    end
    queue.publish("done", {tries = tries})
end }
"""
    assert await outcome(tmp_path, handler) == [{"tries": 3}]


async def test_body_is_a_value_and_decoding_it_again_does_no_harm(tmp_path: Path) -> None:
    handler = """\
local json = require("json")
local queue = require("queue")

return { main = function(order)
    queue.publish("done", {same = json.decode(order) == order, text = json.decode(json.encode(order)).id})
end }
"""
    assert await outcome(tmp_path, handler) == [{"same": True, "text": "o-1"}]


async def test_the_drivers_own_bag_bounds_the_queue(tmp_path: Path) -> None:
    app = App.load(write(tmp_path, FILES), overrides=["app:orders:overflow=reject"])
    async with app:
        for number in range(3):
            await app.publish("app:orders", number)
        with pytest.raises(QueueFullError):
            await app.publish("app:orders", 3)


def test_options_of_other_drivers_are_dormant(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    config: Any = App.load(tmp_path, overrides=["app:driver:kind=queue.driver.sqlite"]).check().configs["app:orders"]
    assert config.max_length is None


def test_a_placeholder_reads_the_environment(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    default: Any = App.load(tmp_path, environ={}).check().configs["app:orders_consumer"]
    given: Any = App.load(tmp_path, environ={"ORDERS_CONCURRENCY": "8"}).check().configs["app:orders_consumer"]
    assert (default.concurrency, given.concurrency) == (2, 8)


def test_a_placeholder_without_value_is_an_error_at_its_place(tmp_path: Path) -> None:
    index = INDEX.replace("${env:ORDERS_CONCURRENCY|2}", "${env:ORDERS_CONCURRENCY}")
    write(tmp_path, {**FILES, "_index.yaml": index})
    line = 1 + index[: index.index("${env:")].count("\n")
    with pytest.raises(ProjectError, match=rf"_index\.yaml:{line}:\d+: .*ORDERS_CONCURRENCY"):
        App.load(tmp_path, environ={}).check()


async def test_the_lock_file_says_where_the_sources_are(tmp_path: Path) -> None:
    write(tmp_path, {f"app/{name}": text for name, text in FILES.items()})
    write(tmp_path, {"wippy.lock": "directories:\n  modules: .wippy\n  src: ./app\n"})
    # Outside the sources, so it must not be read.
    write(tmp_path, {"other/_index.yaml": "namespace: other\nentries: [{name: x, kind: no.such.kind}]\n"})
    app = App.load(tmp_path)
    async with app.worker():
        await app.publish("app:orders", ORDER)
        assert (await bodies(app, "app:done", 1))[0]["total"] == 11


async def test_a_path_from_the_source_root(tmp_path: Path) -> None:
    index = INDEX.replace("file://lib/pricing.lua", "file:///shared/pricing.lua")
    write(tmp_path, {"app/_index.yaml": index, "app/handle.lua": HANDLE, "shared/pricing.lua": PRICING})
    app = App.load(tmp_path)
    async with app.worker():
        await app.publish("app:orders", ORDER)
        assert (await bodies(app, "app:done", 1))[0]["total"] == 11
