"""A change that cannot be made is refused whole, and what ran goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tasuki import App
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError, DriverError, LifecycleError, ProjectError, TasukiError
from tasuki.supervisor.spec import State
from tests.unit.app.project import DONE, Yaml, live, reload

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

BROKEN: dict[str, tuple[Callable[[Yaml], None], type[Exception], str]] = {
    "yaml": (lambda yaml: setattr(yaml, "queue", "leese: 5s"), ProjectError, "leese"),
    "reference": (lambda yaml: setattr(yaml, "queue", "dead_letter: nowhere"), ProjectError, "nowhere"),
    "syntax": (lambda yaml: yaml.source("async def handle(body:\n"), TasukiError, "tasks.py"),
    "signature": (lambda yaml: yaml.source("def handle(body, other): ...\n"), TasukiError, "other"),
    "type": (lambda yaml: yaml.source("def handle(body: complex): ...\n"), TasukiError, "complex"),
}


@pytest.mark.parametrize(("change", "error", "text"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_change_is_refused_whole(
    app: App, yaml: Yaml, change: Callable[[Yaml], None], error: type[Exception], text: str
) -> None:
    before = live(app)
    yaml.driver = "{name: driver, kind: queue.driver.memory, lifecycle: {stop_timeout: 3s}}"
    change(yaml)
    with pytest.raises(error, match=text):
        await reload(app, yaml)
    await goes_on(app, yaml, before)


async def goes_on(app: App, yaml: Yaml, before: Any) -> None:
    assert live(app) is before
    assert before.consumers["app:consumer"].host is before
    assert before.queues["app:tasks"].consumer_count == 1
    assert [queue.spec.name for queue in before.services["app:driver"].queues] == ["dead", "tasks"]
    assert {status.state for status in app._runtime.supervisor.states().values()} == {State.RUNNING}
    assert set(app._runtime.supervisor.states()) == {"app:driver", "app:consumer"}
    DONE.clear()
    await app.publish("tasks", "after")
    await asyncio.sleep(1)
    assert DONE == [("v1", "after")]


@pytest.mark.parametrize("queue", ["max_length: 1, overflow: reject", None])
async def test_a_new_driver_that_cannot_be_opened_changes_nothing(
    app: App, yaml: Yaml, monkeypatch: pytest.MonkeyPatch, queue: str | None
) -> None:
    before = live(app)
    open_driver = MemoryDriver.open

    async def refuse(self: MemoryDriver) -> None:
        if self.name == "app:other":
            raise DriverError("refused for good")
        await open_driver(self)

    monkeypatch.setattr(MemoryDriver, "open", refuse)
    yaml.queue = queue or yaml.queue  # a change that was possible, beside the one that is not
    yaml.more = "{name: other, kind: queue.driver.memory}\n  - {name: new, kind: queue.queue, driver: driver}"
    with pytest.raises(LifecycleError, match="refused for good"):
        await reload(app, yaml)
    await goes_on(app, yaml, before)
    for body in (1, 2, 3):
        await app.publish("dead", body)
    driver = before.drivers["app:driver"]
    assert driver._queues["tasks"].spec.max_length is None


async def test_a_driver_that_cannot_be_built_changes_nothing(
    app: App, yaml: Yaml, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasuki.app import assembly

    before = live(app)

    def missing(*args: Any) -> Any:
        raise ImportError("driver needs: pip install")

    monkeypatch.setattr(assembly, "build_driver", missing)
    yaml.more = "{name: other, kind: queue.driver.memory}"
    with pytest.raises(ImportError):
        await reload(app, yaml)
    await goes_on(app, yaml, before)


async def test_options_that_cannot_be_given_back_are_told(
    app: App, yaml: Yaml, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = live(app)
    declared: list[str] = []

    async def declare(self: MemoryDriver, spec: Any) -> None:
        declared.append(spec.name)
        raise BrokerUnavailableError("away")

    monkeypatch.setattr(MemoryDriver, "declare", declare)
    yaml.queue += ", max_length: 1"
    with pytest.raises(BrokerUnavailableError):
        await reload(app, yaml)
    assert declared == ["tasks", "tasks"]
    assert "queue app:tasks keeps the options of the refused version" in caplog.text
    await goes_on(app, yaml, before)
