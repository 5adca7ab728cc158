"""Reloading a changed driver: it keeps what the driver holds, or is refused while messages wait."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.lifecycle import reload
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.errors import BrokerUnavailableError, DurabilityError, LifecycleError
from tasuki.supervisor.spec import State

pytestmark = pytest.mark.anyio

ENTRIES = """
namespace: app
entries:
  - {{name: driver, kind: queue.driver.{driver}}}
  - {{name: tasks, kind: queue.queue, driver: driver}}
  - {{name: handle, kind: function.python, source: "file://tasks.py", method: handle}}
  - {{name: consumer, kind: queue.consumer, queue: tasks, func: handle, lifecycle: {{auto_start: {consumes}}}}}
{more}
"""
TASKS = """
from tests.unit.app.test_reload_drivers import handled

async def handle(body):
    await handled(body)
"""
DONE: list[int] = []
GATE = asyncio.Event()


async def handled(body: int) -> None:
    """What the project's handler does: the first message waits for the gate."""
    if body == 0:
        await GATE.wait()
    DONE.append(body)


class Project:
    """The project in a folder, and its app; ``change`` writes another version and reloads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.app = App.load(folder)
        (folder / "tasks.py").write_text(TASKS)

    def write(self, driver: str, *, consumes: bool = False, more: str = "") -> None:
        text = ENTRIES.format(driver=driver, consumes=str(consumes).lower(), more=more)
        (self.folder / "_index.yaml").write_text(text)

    async def start(self, driver: str, **options: Any) -> None:
        self.write(driver, **options)
        await self.app.start()

    async def change(self, driver: str, **options: Any) -> Any:
        self.write(driver, **options)
        return await self.app.reload()

    async def publish(self, count: int) -> None:
        for number in range(count):
            await self.app.publish("app:tasks", number)

    async def count(self) -> int:
        return int((await self.app._runtime.queue("app:tasks").info())["message_count"])

    @property
    def driver(self) -> Any:
        assert self.app._runtime.assembly is not None
        return self.app._runtime.assembly.drivers["app:driver"]


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Project]:
    global GATE
    DONE.clear()
    GATE = asyncio.Event()
    project = Project(tmp_path)
    yield project
    GATE.set()
    await project.app.close()


FIELDS = [
    "lifecycle: {stop_timeout: 3s}",
    "lifecycle: {start_timeout: 3s, stable_threshold: 1s, restart: {max_attempts: 3}}",
    "lifecycle: {startup: optional, auto_start: true}",
    "lifecycle: {depends_on: [other]}",
    "durability: memory",
    "meta: {comment: x}",
]
OTHER = "  - {name: other, kind: queue.driver.memory}"


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("driver", ["memory", "sqlite"])
async def test_a_driver_keeps_waiting_and_held_messages(project: Project, driver: str, field: str) -> None:
    """The handler of the first one runs on meanwhile: nothing is stopped."""
    await project.start(driver, consumes=True, more=OTHER)
    before = project.driver
    await project.publish(30)
    await wait_for(
        lambda: bool(project.app._runtime.assembly and project.app._runtime.assembly.consumers["app:consumer"].now.held)
    )
    changes = await project.change(f"{driver}, {field}", consumes=True, more=OTHER)
    assert changes.changed == {"app:driver"}
    assert project.driver is before
    assert DONE == []
    GATE.set()
    await wait_for(lambda: len(DONE) == 30)
    assert sorted(DONE) == list(range(30))
    await wait_for(
        lambda: bool(
            project.app._runtime.assembly and not project.app._runtime.assembly.consumers["app:consumer"].now.held
        )
    )
    assert await project.count() == 0


async def test_changed_limits_of_a_driver_that_goes_on_hold(project: Project) -> None:
    await project.start("memory")
    await project.change("memory, lifecycle: {stop_timeout: 3s}")
    controller = project.app._runtime.supervisor._controllers["app:driver"]
    assert controller.spec.stop_timeout == 3.0
    assert controller.status.state is State.RUNNING
    (project.folder / "text.db").write_text("no database " * 100)
    broken = "  - {name: broken, kind: queue.driver.sqlite, path: text.db}"
    with pytest.raises(LifecycleError, match="not a readable database"):
        await project.change("memory, lifecycle: {stop_timeout: 9s}", more=broken)
    assert controller.spec.stop_timeout == 3.0


@pytest.mark.parametrize(
    "fields", ["busy_timeout: 1s", "synchronous: normal, durability: broker", "path: same/queue.db"]
)
async def test_another_connection_to_the_same_place_keeps_the_messages(project: Project, fields: str) -> None:
    await project.start("sqlite, path: queue/queue.db", consumes=True)
    os.symlink(project.folder / "queue", project.folder / "same")
    before = project.driver
    await project.publish(10)
    GATE.set()
    place = "" if "path" in fields else "path: queue/queue.db, "
    await project.change(f"sqlite, {place}{fields}", consumes=True)
    assert project.driver is not before
    await wait_for(lambda: len(set(DONE)) == 10)
    assert await project.count() == 0


MOVES = [
    ("memory", "sqlite", "its messages end with it"),
    ("sqlite", "memory", "keeps its messages elsewhere"),
    ("sqlite, path: a.db", "sqlite, path: b.db", "keeps its messages elsewhere"),
]


@pytest.mark.parametrize(("driver", "other", "why"), MOVES)
async def test_a_driver_that_keeps_messages_elsewhere_is_refused_while_some_wait(
    project: Project, driver: str, other: str, why: str
) -> None:
    await project.start(driver)
    before = project.driver
    await project.publish(7)
    with pytest.raises(LifecycleError, match=r"driver 'app:driver' cannot .*\(7 in queue 'app:tasks'\)") as caught:
        await project.change(other)
    assert why in str(caught.value)
    assert "let them be handled first" in str(caught.value)
    assert project.driver is before
    assert await project.count() == 7
    await project.app._runtime.queue("app:tasks").purge()
    await project.change(other)
    assert project.driver is not before
    await project.publish(1)
    assert await project.count() == 1


async def test_a_probe_leaves_no_queue(project: Project) -> None:
    await project.start("sqlite, path: a.db")
    await project.publish(1)
    before = project.driver
    with pytest.raises(LifecycleError):
        await project.change("sqlite, path: b.db")
    assert [spec.name for spec in before._known.all()] == ["tasks"]
    await project.change("sqlite, path: a.db, busy_timeout: 1s")
    assert [spec.name for spec in project.driver._known.all()] == ["tasks"]


async def test_a_queue_that_moves_to_another_driver_is_refused_while_messages_wait(project: Project) -> None:
    await project.start("memory", more=OTHER)
    await project.publish(2)
    text = (project.folder / "_index.yaml").read_text()
    (project.folder / "_index.yaml").write_text(
        text.replace("queue.queue, driver: driver", "queue.queue, driver: other")
    )
    with pytest.raises(LifecycleError, match=r"\(2 in queue 'app:tasks'\)"):
        await project.app.reload()


async def test_a_removed_driver_that_drops_its_messages_is_refused_while_some_wait(project: Project) -> None:
    more = f"{OTHER}\n  - {{name: extra, kind: queue.queue, driver: other}}"
    await project.start("memory", more=more)
    await project.app.publish("app:extra", 1)
    with pytest.raises(LifecycleError, match=r"driver 'app:other' cannot .*\(1 in queue 'app:extra'\)"):
        await project.change("memory")
    await project.change("memory", more=OTHER)  # without the queue alone, the messages stay
    await project.change("memory", more=more)
    assert len(await project.app._runtime.queue("app:extra").peek()) == 1


async def test_what_is_published_after_the_question_is_not_dropped(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    await project.start("memory")
    before, refuse_leaving = project.driver, reload.refuse_leaving

    async def ask_and_publish(old: Any, new: Any) -> None:
        await refuse_leaving(old, new)
        await project.publish(1)

    monkeypatch.setattr(reload, "refuse_leaving", ask_and_publish)
    with pytest.raises(LifecycleError, match=r"\(1 in queue 'app:tasks'\): its messages end with it"):
        await project.change("sqlite")
    assert project.driver is before
    await project.app._runtime.supervisor.until(lambda states: states["app:driver"] is State.RUNNING)
    assert await project.count() == 1


async def test_a_new_driver_that_cannot_be_asked_is_refused_while_messages_wait(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    await project.start("sqlite, path: a.db")
    await project.publish(1)
    open_driver = SQLiteDriver.open

    async def refuse(self: SQLiteDriver) -> None:
        if self is not before:
            raise BrokerUnavailableError("broker is unavailable")
        await open_driver(self)

    before = project.driver
    monkeypatch.setattr(SQLiteDriver, "open", refuse)
    with pytest.raises(LifecycleError, match="find out whether the new driver holds them: broker is unavailable"):
        await project.change("sqlite, path: b.db")
    assert await project.count() == 1


async def test_an_old_driver_that_cannot_be_asked_is_replaced_with_a_warning(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await project.start("sqlite, path: a.db")

    async def refuse(self: SQLiteDriver, queue: str) -> None:
        raise BrokerUnavailableError("broker is unavailable")

    monkeypatch.setattr(SQLiteDriver, "depth", refuse)
    await project.change("memory")
    assert isinstance(project.driver, MemoryDriver)
    assert "queue app:tasks: its old driver cannot count the waiting messages: broker is unavailable" in caplog.text


async def test_more_durability_than_a_driver_that_goes_on_gives_refuses_what_is_published(project: Project) -> None:
    await project.start("sqlite, synchronous: normal, durability: broker")
    before = project.driver
    await project.change("sqlite, synchronous: normal, durability: power")
    assert project.driver is before
    with pytest.raises(DurabilityError, match="'app:tasks' demands durability 'power'"):
        await project.publish(1)
    await project.change("sqlite, synchronous: normal, durability: broker")
    await project.publish(1)


async def wait_for(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_store_goes_with_its_driver(project: Project) -> None:
    """It goes on while both are the same; with another driver it is that driver's."""
    store = "  - {name: counts, kind: store.sqlite, driver: driver}"
    await project.start("sqlite, path: a.db", more=store)
    counts = project.app.store("app:counts")
    await counts.set("n", 1)
    await project.change("sqlite, path: a.db", consumes=True, more=store)
    assert await counts.get("n") == 1
    await project.change("sqlite, path: b.db", more=store)
    assert await counts.get("n", None) is None
    await counts.set("n", 2)
    await project.change("sqlite, path: a.db", more=store)
    assert await counts.get("n") == 1
    await project.change(
        "sqlite, path: a.db", more=store.replace("driver: driver", "driver: driver, store_name: other")
    )
    assert await counts.get("n", None) is None
