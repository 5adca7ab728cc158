"""A queue or driver that demands more durability than there is: publishing is refused, all else goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.health.health import status_of
from tasuki.contracts.driver import Outgoing
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.errors import DurabilityError, ProjectError
from tasuki.queues.result import Rejected

pytestmark = pytest.mark.anyio

PROJECT = """
namespace: app
entries:
  - {{name: driver, kind: queue.driver.{driver}}}
  - {{name: tasks, kind: queue.queue, driver: driver, durability: {level}}}
"""


def app(folder: Path, driver: str, level: str) -> App:
    (folder / "_index.yaml").write_text(PROJECT.format(driver=driver, level=level))
    return App.load(folder)


def handled_in(app: App) -> list[Any]:
    """What the app's consumer handles."""
    seen: list[Any] = []

    @app.queue("tasks").consumer
    def handle(body: Any) -> None:
        seen.append(body)

    return seen


async def test_publishing_for_too_little_is_refused_and_all_else_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weak = app(tmp_path, "sqlite, synchronous: normal", "power")
    seen = handled_in(weak)
    async with weak.worker():
        for _ in range(2):
            with pytest.raises(DurabilityError, match="demands durability 'power', and driver 'app:driver' gives 'bro"):
                await weak.publish("tasks", 1)
        (result,) = await weak.queue("tasks").publish_many([1])
        assert isinstance(result, Rejected)
        assert result.retryable
        live: Any = weak._runtime.assembly
        (error,) = await live.queues["app:tasks"].forward([Outgoing("a", b"1", {})])
        assert isinstance(error, DurabilityError)
        await live.drivers["app:driver"].publish("tasks", [Outgoing("a", b'"from before"', {})])
        while not seen:
            await asyncio.sleep(0.01)
        status = status_of(live)["queues"]["app:tasks"]
        assert (status["durability"], status["demanded_durability"]) == ("broker", "power")
    assert seen == ["from before"]
    assert sum("publishing is refused" in record.getMessage() for record in caplog.records) == 1
    async with weak._runtime.reading():
        assert (await weak._runtime.queue("tasks").depth()).ready == 0


async def test_a_level_that_falls_and_rises_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with app(tmp_path, "sqlite", "power") as opened:
        driver: Any = opened._runtime.assembly.drivers["app:driver"]  # type: ignore[union-attr]
        assert (await opened.publish("tasks", 1)).durability == "power"
        monkeypatch.setattr(driver, "durability_of", lambda queue: "process")
        with pytest.raises(DurabilityError):
            await opened.publish("tasks", 2)
        monkeypatch.undo()
        assert (await opened.publish("tasks", 3)).durability == "power"
        assert (await opened._runtime.queue("tasks").depth()).ready == 2
    levels = [record.levelname for record in caplog.records if "publishing" in record.getMessage()]
    assert levels == ["ERROR", "WARNING"]


@pytest.mark.parametrize(
    ("driver", "level", "able"),
    [("memory", "process", "sqlite"), ("sqlite", "node", ""), ("memory", "power", "sqlite")],
)
async def test_what_the_driver_can_never_give_is_refused_by_the_check(
    tmp_path: Path, driver: str, level: str, able: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        app(tmp_path, driver, level).check()
    (error,) = caught.value.errors
    assert str(error).startswith(f"{tmp_path / '_index.yaml'}:5:54: app:tasks: durability: {level} needs a driver that")
    assert able in error.hint


@pytest.mark.parametrize(
    ("driver", "queue"),
    [
        ("", "requires: [power]"),
        ("", "durability: broker, requires: [process, power, delay]"),
        (", durability: power", "durability: process"),
    ],
)
async def test_a_requirement_and_the_demand_of_the_driver_count_like_a_durability(
    tmp_path: Path, driver: str, queue: str
) -> None:
    text = PROJECT.format(driver=f"sqlite, synchronous: normal{driver}", level="memory")
    (tmp_path / "_index.yaml").write_text(text.replace("durability: memory", queue))
    async with App.load(tmp_path) as opened:
        with pytest.raises(DurabilityError, match="'app:tasks' demands durability 'power'"):
            await opened.publish("tasks", 1)


@pytest.mark.parametrize(("driver", "level"), [("memory", "memory"), ("sqlite", "power"), ("sqlite", "broker")])
async def test_enough_starts(tmp_path: Path, driver: str, level: str) -> None:
    async with app(tmp_path, driver, level) as opened:
        assert (await opened.publish("tasks", 1)).durability in ("memory", "power")


@pytest.mark.parametrize(
    ("driver", "warnings"),
    [
        ("memory", 0),
        ("sqlite", 0),
        ("sqlite, synchronous: normal", 1),
        ("sqlite, synchronous: normal, durability: broker", 0),
    ],
)
async def test_less_than_the_driver_could_give_is_said_once(
    tmp_path: Path, driver: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with app(tmp_path, driver, "memory"):
        pass
    said = [record.getMessage() for record in caplog.records if "give confirmed messages" in record.getMessage()]
    assert len(said) == warnings
    assert all("durability 'broker'" in text and "could give 'power'" in text for text in said)


@pytest.mark.parametrize(("field", "warnings"), [("", 1), (", durability: broker", 0)])
async def test_a_queue_that_stands_with_less_than_a_new_one_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, field: str, warnings: int
) -> None:
    """Such as a stream of one replica, where the entry now asks for three; a queue that says enough is none."""
    monkeypatch.setattr(SQLiteDriver, "durability_of", lambda self, queue: "broker")
    (tmp_path / "_index.yaml").write_text(PROJECT.format(driver="sqlite", level="").replace(", durability: ", field))
    strong = App.load(tmp_path)
    handled_in(strong)
    async with strong.worker():
        pass
    said = [record.getMessage() for record in caplog.records if "from earlier settings" in record.getMessage()]
    assert len(said) == warnings
    for line in said:
        assert line.startswith("queue app:tasks has durability 'broker' from earlier settings; a new")
        assert "would have 'power'" in line
