"""Who looks at queues changes nothing at the broker, and who changes a live one says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasuki import App
from tasuki.app.option_changes import differences
from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.memory import MemoryDriver
from tasuki.errors import QueueNotFoundError

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
    async with app.reading():
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


@pytest.mark.parametrize(
    ("live", "wanted", "told"),
    [
        ({}, {}, []),
        ({"ordering": "none"}, {"ordering": "key"}, ["ordering from 'none' to 'key'"]),
        ({"options": {"a": 1, "b": 2}}, {"options": {"b": 3}}, ["options.a from 1 to None", "options.b from 2 to 3"]),
        ({"temporary": True}, {}, []),
    ],
)
def test_differences(live: dict[str, Any], wanted: dict[str, Any], told: list[str]) -> None:
    assert differences(QueueSpec("q", **live), QueueSpec("q", **wanted)) == told
