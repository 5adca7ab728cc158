"""Who looks at queues changes nothing at the broker, and who changes a live one says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasuki import App
from tasuki.app.lifecycle.driver_service import differences
from tasuki.contracts.driver import Limit, QueueSpec
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError, QueueNotFoundError
from tests.unit.app.project import Yaml, reload

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

MakeApp = Callable[..., App]


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queues that were declared."""
    names: list[str] = []
    declare = MemoryDriver.declare

    async def noted(self: MemoryDriver, spec: QueueSpec) -> None:
        names.append(spec.name)
        await declare(self, spec)

    monkeypatch.setattr(MemoryDriver, "declare", noted)
    return names


async def test_a_look_declares_nothing(make_app: MakeApp, declared: list[str]) -> None:
    app = make_app()
    app.queue("tasks", max_length=5)
    async with app._runtime.reading():
        with pytest.raises(QueueNotFoundError):
            await app.queue("tasks").info()
    assert declared == []
    async with app:
        assert (await app.queue("tasks").info())["message_count"] == 0
    assert declared == ["tasks"]


async def test_a_changed_live_queue_is_said_with_both_values(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def live(self: MemoryDriver, spec: QueueSpec) -> QueueSpec:
        return replace(spec, lease=60.0, max_length=100) if spec.name == "tasks" else spec

    monkeypatch.setattr(MemoryDriver, "inspect", live)
    app = make_app()
    app.queue("tasks", max_length=3, lease=5)
    app.queue("same")
    async with app:
        pass
    (said,) = [record.getMessage() for record in caplog.records if "changes the settings" in record.getMessage()]
    assert said == (
        "queue app:tasks: this process changes the settings of the queue at the broker, for all processes: "
        "lease from 60.0 to 5.0; max_length from 100 to 3"
    )


async def test_a_broker_that_shows_no_options_is_not_asked_for_them(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, declared: list[str]
) -> None:
    async def asked(self: MemoryDriver, spec: QueueSpec) -> QueueSpec:
        raise AssertionError(spec.name)

    monkeypatch.setattr(MemoryDriver, "inspect", asked)
    monkeypatch.setattr(MemoryDriver, "tells_options", False)
    app = make_app()
    app.queue("tasks", max_length=3)
    async with app:
        pass
    assert declared == ["tasks"]


async def test_so_it_is_by_one_that_began_without_the_broker(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A publish until then reports that the broker is unavailable, also while the queues are inspected."""
    open_driver, declare, away, declared = MemoryDriver.open, MemoryDriver.declare, [BrokerUnavailableError("away")], []

    async def sometimes(self: MemoryDriver) -> None:
        if away:
            raise away[0]
        await open_driver(self)

    async def live(self: MemoryDriver, spec: QueueSpec) -> QueueSpec:
        assert spec.name not in declared, "nothing is declared before it is compared"
        with pytest.raises(BrokerUnavailableError, match="away"):
            await app.publish("tasks", 1)
        with pytest.raises(BrokerUnavailableError, match="away"):
            await app.queue("tasks").info()
        return replace(spec, max_length=100)

    async def noted(self: MemoryDriver, spec: QueueSpec) -> None:
        declared.append(spec.name)
        await declare(self, spec)

    monkeypatch.setattr(MemoryDriver, "open", sometimes)
    monkeypatch.setattr(MemoryDriver, "inspect", live)
    monkeypatch.setattr(MemoryDriver, "declare", noted)
    app = make_app()
    app.queue("tasks", max_length=3)
    async with app:
        with pytest.raises(BrokerUnavailableError, match="away"):
            await app.publish("tasks", 1)
        away.clear()
        while "max_length from 100 to 3" not in caplog.text:
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        await app.publish("tasks", 1)


async def test_so_it_is_by_a_reload(app: App, yaml: Yaml, caplog: pytest.LogCaptureFixture) -> None:
    yaml.queue += ", max_length: 7"
    await reload(app, yaml)
    assert "queue app:tasks: this process changes the settings" in caplog.text
    assert "max_length from None to 7" in caplog.text
    caplog.clear()
    yaml.version("v2")
    await reload(app, yaml)
    assert "this process changes the settings" not in caplog.text


@pytest.mark.parametrize(
    ("live", "wanted", "told"),
    [
        ({}, {}, []),
        ({"ordering": "none"}, {"ordering": "key"}, ["ordering from 'none' to 'key'"]),
        ({"options": {"a": 1, "b": 2}}, {"options": {"b": 3}}, ["options.a from 1 to None", "options.b from 2 to 3"]),
        ({"temporary": True}, {}, []),
        ({"priorities": False}, {"priorities": True}, ["priorities from False to True"]),
        ({"priorities": True}, {}, []),
    ],
)
def test_differences(live: dict[str, Any], wanted: dict[str, Any], told: list[str]) -> None:
    assert differences(QueueSpec("q", **live), QueueSpec("q", **wanted)) == told


def test_a_limit_is_told_in_words() -> None:
    before = QueueSpec("q", limit=Limit(10.0, 5), fair=1, lane_limit=Limit(concurrency=3))
    assert differences(before, QueueSpec("q", limit=Limit(0.5, 1, 2))) == [
        "limit from 10/s, 5 in a burst to 30/m, 2 at once",
        "lane_limit from 3 at once to None",
        "fair from 1 to 0",
    ]
