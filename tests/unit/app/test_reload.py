"""Reloading: each kind of change is applied while messages move, or refused whole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.errors import LifecycleError, StopTimeoutError
from tasuki.handlers.python import PythonHandler
from tasuki.supervisor.spec import State
from tests.unit.app.project import DONE, SECOND, Yaml, live, reload

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


async def test_nothing_changed_changes_nothing(app: App, yaml: Yaml) -> None:
    before = live(app)
    assert not await reload(app, yaml)
    assert live(app) is before


async def test_the_source_of_a_handler(app: App, yaml: Yaml) -> None:
    """What runs finishes with the old one, what starts takes the new one; the consumer goes on."""
    consumer, handler = live(app).consumers["app:consumer"], live(app).handlers["app:handle"]
    for body in ("slow", "a", "b"):
        await app.publish("tasks", body)
    await asyncio.sleep(1)
    yaml.version("v2")
    changes = await reload(app, yaml)
    assert changes.changed == {"app:handle"}
    assert live(app).consumers["app:consumer"] is consumer
    assert consumer.host is live(app)
    await asyncio.sleep(20)
    assert DONE == [("v1", "slow"), ("v2", "a"), ("v2", "b")]
    assert live(app).handlers["app:handle"] is not handler


async def test_replaced_handlers_are_freed_when_nothing_runs_in_them_any_more(
    app: App, yaml: Yaml, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[Any] = []

    async def stop(self: PythonHandler) -> None:
        stopped.append(self)

    monkeypatch.setattr(PythonHandler, "stop", stop)
    first = live(app).handlers["app:handle"]
    await app.publish("tasks", "slow")
    await asyncio.sleep(1)
    yaml.version("v2")
    await reload(app, yaml)
    second = live(app).handlers["app:handle"]
    assert stopped == []
    await asyncio.sleep(20)
    yaml.version("v3")
    await reload(app, yaml)
    assert stopped == [first, second]
    third = live(app).handlers["app:handle"]
    await app.close()
    assert stopped == [first, second, third]


async def test_a_handler_that_fails_to_stop_stops_nobody_else(
    app: App, yaml: Yaml, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def stop(self: PythonHandler) -> None:
        raise ValueError("does not stop")

    monkeypatch.setattr(PythonHandler, "stop", stop)
    await app.close()
    assert not app.is_open
    assert "handler app:handle failed to stop" in caplog.text


@pytest.mark.parametrize(
    "options",
    ["dead_letter: dead, max_length: 2, overflow: reject", "lease: 5s", "dead_letter: {queue: dead, max_attempts: 2}"],
)
async def test_an_option_of_a_queue_keeps_its_messages(app: App, yaml: Yaml, options: str) -> None:
    for body in ("slow", "a", "b"):
        await app.publish("tasks", body)
    await asyncio.sleep(1)
    before = live(app)
    yaml.queue = options
    reloading = asyncio.create_task(reload(app, yaml))
    await reloading
    assert live(app).queues["app:tasks"] is not before.queues["app:tasks"]
    assert live(app).consumers["app:consumer"] is not before.consumers["app:consumer"]
    assert live(app).drivers["app:driver"] is before.drivers["app:driver"]
    await asyncio.sleep(20)
    assert sorted(DONE) == [("v1", "a"), ("v1", "b"), ("v1", "slow")]
    assert (await app._runtime.queue("tasks").info())["message_count"] == 0


async def test_what_a_driver_declares_when_it_comes_back_is_the_new_version(app: App, yaml: Yaml) -> None:
    yaml.queue = "max_length: 1, overflow: reject"
    yaml.more = "{name: extra, kind: queue.queue, driver: driver}"
    await reload(app, yaml)
    service = live(app).services["app:driver"]
    await service.start()
    assert {queue.spec.name: queue.spec.max_length for queue in service.queues} == {
        "dead": None,
        "tasks": 1,
        "extra": None,
    }


async def test_another_dead_letter_queue(app: App, yaml: Yaml) -> None:
    yaml.more = "{name: other, kind: queue.queue, driver: driver}"
    yaml.queue = "dead_letter: {queue: other, max_attempts: 1}"
    (yaml.folder / "tasks.py").write_text("async def handle(body):\n    return False\n")
    await reload(app, yaml)
    await app.publish("tasks", 1)
    await asyncio.sleep(1)
    assert len(await app._runtime.queue("other").peek()) == 1


async def test_an_option_of_the_dead_letter_queue_reaches_its_users(app: App, yaml: Yaml) -> None:
    before = live(app).consumers["app:consumer"]
    text = (
        (yaml.folder / "_index.yaml")
        .read_text()
        .replace("{name: dead, kind: queue.queue,", "{name: dead, kind: queue.queue, max_length: 3,")
    )
    (yaml.folder / "_index.yaml").write_text(text)
    await app.reload()
    after = live(app).consumers["app:consumer"]
    assert after is not before
    assert after.dead_letters is live(app).queues["app:dead"]


async def test_consumers_added_and_removed(app: App, yaml: Yaml) -> None:
    yaml.more = SECOND
    changes = await reload(app, yaml)
    assert changes.added == {"app:second"}
    await app.publish("dead", "d")
    await asyncio.sleep(1)
    assert DONE == [("v1", "d")]
    yaml.more = ""
    changes = await reload(app, yaml)
    assert changes.removed == {"app:second"}
    assert "app:second" not in app._runtime.supervisor.states()
    await app.publish("dead", "d")
    await asyncio.sleep(1)
    assert len(DONE) == 1


async def test_a_consumer_that_is_to_start_by_itself_now(app: App, yaml: Yaml) -> None:
    yaml.more = "{name: second, kind: queue.consumer, queue: dead, func: handle}"
    await reload(app, yaml)
    assert app._runtime.supervisor.states()["app:second"].state is State.UNKNOWN
    yaml.version("v2")
    await reload(app, yaml)  # its handler changes while it is not running
    yaml.more = yaml.more.replace("func: handle", "func: handle, lifecycle: {auto_start: true}")
    await reload(app, yaml)
    assert app._runtime.supervisor.states()["app:second"].state is State.RUNNING
    await app.publish("dead", "d")
    await asyncio.sleep(1)
    assert DONE == [("v2", "d")]


async def test_a_removed_consumer_whose_handler_is_late_is_gone_all_the_same(
    app: App, yaml: Yaml, caplog: pytest.LogCaptureFixture
) -> None:
    yaml.more = (
        "{name: second, kind: queue.consumer, queue: dead, func: handle, "
        "lifecycle: {auto_start: true, stop_timeout: 1s}}"
    )
    await reload(app, yaml)
    await app.publish("dead", "slow")
    await asyncio.sleep(1)
    yaml.more = ""
    await reload(app, yaml)
    assert "app:second" not in live(app).consumers
    assert "app:second" not in app._runtime.supervisor.states()
    assert "still ran after stop_timeout" in caplog.text
    assert (await app._runtime.queue("dead").depth()).ready == 1


async def test_what_only_refers_to_something_that_changed_goes_on(app: App, yaml: Yaml) -> None:
    yaml.driver = "{name: driver, kind: queue.driver.memory, lifecycle: {depends_on: [store]}}"
    yaml.more = "{name: store, kind: store.memory, max_size: 5}"
    await reload(app, yaml)
    before = live(app)
    yaml.more = "{name: store, kind: store.memory, max_size: 6}"
    changes = await reload(app, yaml)
    assert "app:driver" in changes.affected
    assert live(app).drivers["app:driver"] is before.drivers["app:driver"]
    assert live(app).resources["app:store"] is not before.resources["app:store"]


async def test_a_store_in_memory_keeps_its_entries_while_its_entry_is_the_same(app: App, yaml: Yaml) -> None:
    yaml.more = "{name: store, kind: store.memory}"
    await reload(app, yaml)
    await app.store("store").set("k", 1)
    yaml.version("v2")
    await reload(app, yaml)
    assert await app.store("store").get("k") == 1


LIBRARY = "{name: lib, kind: library.lua, source: 'file://lib.lua'}"
SCRIPT = "{name: script, kind: function.lua, source: 'file://script.lua', imports: {lib: lib}}"


async def test_a_library_that_a_script_imports(app: App, yaml: Yaml) -> None:
    (yaml.folder / "lib.lua").write_text("return { name = function() return 'old' end }")
    (yaml.folder / "script.lua").write_text("local lib = require('lib')\nreturn function() return lib.name() end")
    yaml.more = f"{LIBRARY}\n  - {SCRIPT}"
    await reload(app, yaml)
    assert await app.call("script") == "old"
    (yaml.folder / "lib.lua").write_text("return { name = function() return 'new' end }")
    changes = await reload(app, yaml)
    assert (changes.changed, changes.affected) == ({"app:lib"}, {"app:script"})
    assert await app.call("script") == "new"


async def test_two_reloads_at_once_come_one_after_the_other(app: App, yaml: Yaml) -> None:
    yaml.version("v2")
    yaml.write()
    first = asyncio.create_task(app.reload())
    second = asyncio.create_task(app.reload())
    assert (await first).changed == {"app:handle"}
    assert not await second


async def test_a_close_during_a_reload_closes_all(app: App, yaml: Yaml) -> None:
    await app.publish("tasks", "slow")
    await asyncio.sleep(1)
    yaml.queue = "max_length: 5"
    yaml.more = SECOND
    reloading = asyncio.create_task(reload(app, yaml))
    await asyncio.sleep(1)
    with pytest.raises(StopTimeoutError, match="handlers that still ran after stop_timeout: 1;"):
        await app.close(0)
    with pytest.raises(LifecycleError):
        await reloading
    assert not app.is_open
    assert State.RUNNING not in {status.state for status in app._runtime.supervisor.states().values()}
    with pytest.raises(LifecycleError, match="not open"):
        await app.reload()


async def test_a_hundred_reloads_under_load_lose_and_leave_nothing(app: App, yaml: Yaml) -> None:
    tasks = len(asyncio.all_tasks())
    for number in range(100):
        await app.publish("tasks", number)
        yaml.version(f"v{number}")
        yaml.queue = f"max_length: {1000 + number}"
        await reload(app, yaml)
    await asyncio.sleep(10)
    assert sorted(body for _, body in DONE) == list(range(100))
    assert len(asyncio.all_tasks()) == tasks
    assert len(live(app)._retired) <= 1


async def test_code_that_begins_to_publish_with_priority_prepares_its_queue(tmp_path: Path) -> None:
    script = "local queue = require('queue') return function() queue.publish('app:tasks', 1, nil, {%s}) end"
    (tmp_path / "send.lua").write_text(script % "")
    (tmp_path / "_index.yaml").write_text(
        """
        namespace: app
        entries:
          - {name: driver, kind: queue.driver.memory}
          - {name: tasks, kind: queue.queue, driver: driver}
          - {name: send, kind: function.lua, modules: [queue], source: file://send.lua}
          - {name: consumer, kind: queue.consumer, queue: tasks, func: send}
        """
    )
    app = App.load(tmp_path)
    async with app:
        assert not live(app).queues["app:tasks"].spec.priorities
        (tmp_path / "send.lua").write_text(script % "priority = 5")
        await app.reload()
        queue = live(app).queues["app:tasks"]
        assert queue.spec.priorities
        assert live(app).consumers["app:consumer"].queue is queue
