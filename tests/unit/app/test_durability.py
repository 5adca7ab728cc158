"""A queue or driver that asks for more durability than there is does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki import App
from tasuki.errors import LifecycleError, ProjectError

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


async def test_too_little_by_the_settings_is_refused(tmp_path: Path) -> None:
    refused = app(tmp_path, "sqlite, synchronous: normal", "power")
    with pytest.raises(LifecycleError) as caught:
        await refused.open()
    assert "'app:tasks' wants durability 'power'" in str(caught.value)
    assert not refused.is_open


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


@pytest.mark.parametrize("words", ["requires: [power]", "durability: broker, requires: [process, power, delay]"])
async def test_a_requirement_counts_like_a_durability(tmp_path: Path, words: str) -> None:
    text = PROJECT.format(driver="sqlite, synchronous: normal", level="memory").replace("durability: memory", words)
    (tmp_path / "_index.yaml").write_text(text)
    with pytest.raises(LifecycleError, match="wants durability 'power'"):
        await App.load(tmp_path).open()


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
    said = [record.getMessage() for record in caplog.records if "as the broker is set up" in record.getMessage()]
    assert len(said) == warnings
    assert all("durability 'broker'" in text and "could have 'power'" in text for text in said)
