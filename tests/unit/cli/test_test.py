"""``tasuki test``: the consumers run while it calls the tests, in the order that their meta says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasuki.cli.exits import LATE, UNREACHABLE
from tests.support.cli_project import notes, write_project
from tests.support.ports import free_port
from tests.unit.cli.conftest import CommandLine

HANDLERS = """
import asyncio
from tasuki import Context

started, finished = asyncio.Event(), asyncio.Event()

async def handle(body):
    started.set()
    if body == "hang":
        await asyncio.Event().wait()
    note(str(body))
    finished.set()

async def waits(context: Context):
    await context.publish("tasks", "one")
    await finished.wait()

async def hangs(context: Context):
    await context.publish("tasks", "hang")
    await started.wait()

async def publishes(context: Context):
    await context.publish("tasks", "two")

def passes(): ...
"""


@pytest.fixture
def entries(project: Path) -> Path:
    """The folder of a project with these handlers, whose consumer is stopped at once."""
    return write_project(project, HANDLERS, stop_timeout="0s")


def declare(folder: Path, *tests: str) -> None:
    """Add tests to the project, each as ``name method , more: meta``."""
    with (folder / "_index.yaml").open("a") as file:
        for test in tests:
            name, method, meta = test.split(" ", 2)
            entry = f"name: {name}, kind: function.python, source: file://handlers.py, method: {method}"
            file.write(f"  - {{{entry}, meta: {{type: test{meta}}}}}\n")


def test_consumers_run_while_the_tests_do(tasuki: CommandLine, entries: Path) -> None:
    declare(entries, "waits waits ")
    [result] = tasuki.json("test")
    assert (result["id"], result["suite"], result["status"], result["error"]) == ("app:waits", "app", "passed", None)
    assert notes(entries) == ["one"]
    assert tasuki.json("info", "tasks")["message_count"] == 0


def test_without_consumers_nothing_is_handled(tasuki: CommandLine, entries: Path) -> None:
    declare(entries, "publishes publishes ")
    assert tasuki.json("test", "--no-consumers")[0]["status"] == "passed"
    assert tasuki.json("info", "tasks")["ready"] == 1
    assert notes(entries) == []


def test_a_consumer_that_does_not_end_in_time_hides_no_result(tasuki: CommandLine, entries: Path) -> None:
    declare(entries, "hangs hangs ")
    done = tasuki("test", "--json")
    assert done.returncode == LATE
    assert [result["status"] for result in json.loads(done.stdout)] == ["passed"]
    assert "app:consumer" in done.stderr
    assert tasuki.json("info", "tasks")["ready"] == 1


def test_the_order_is_that_of_suite_order_and_id(tasuki: CommandLine, entries: Path) -> None:
    declare(
        entries,
        "d passes , suite: b, order: 2",
        "c passes , suite: b, order: 010",
        "z passes , suite: a, order: 5",
        "b passes , suite: b",
        "a passes , suite: b, order: 1.5",
    )
    assert [result["id"] for result in tasuki.json("test")] == ["app:z", "app:b", "app:a", "app:d", "app:c"]
    declare(entries, "e passes , order: first")
    done = tasuki("test")
    assert (done.returncode, done.stderr) == (1, "error: app:e: meta.order is a number, not the text 'first'\n")


def test_a_broker_that_is_away_is_not_waited_for(tasuki: CommandLine, entries: Path) -> None:
    declare(entries, "passes passes ")
    away = ("-o", "app:driver:kind=queue.driver.redis", "-o", f"app:driver:url=redis://127.0.0.1:{free_port()}")
    done = tasuki("test", *away)
    assert (done.returncode, done.stdout) == (UNREACHABLE, "")
    assert tasuki("test", "--no-consumers", *away).returncode == 0


WIPPY = """
version: "1.0"
namespace: shop
entries:
  - {name: memory, kind: queue.driver.memory, lifecycle: {auto_start: true}}
  - {name: seen, kind: store.memory, lifecycle: {auto_start: true}}
  - {name: orders, kind: queue.queue, driver: memory}
  - name: handle
    kind: function.lua
    modules: [queue, store]
    source: |
      return function(body)
        local id = queue.message():header("correlation_id")
        return store.get("shop:seen"):set(id, body.price * 2)
      end
  - {name: worker, kind: queue.consumer, queue: orders, func: handle, lifecycle: {auto_start: true}}
  - name: order_test
    kind: function.lua
    meta: {type: test, suite: orders}
    modules: [queue, store, time]
    source: |
      return function()
        local seen, id = store.get("shop:seen"), "order-1"
        assert(queue.publish("shop:orders", {price = 21}, {correlation_id = id}))
        while not seen:has(id) do time.sleep("1ms") end
        return seen:get(id) == 42
      end
"""


def test_a_lua_test_sees_what_the_consumer_did(tasuki: CommandLine, project: Path) -> None:
    (project / "_index.yaml").write_text(WIPPY)
    [result] = tasuki.json("test")
    assert (result["id"], result["suite"], result["status"]) == ("shop:order_test", "orders", "passed")
