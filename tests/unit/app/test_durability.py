"""A queue or driver that asks for more durability than there is does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki import App
from tasuki.errors import LifecycleError

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


@pytest.mark.parametrize(
    ("driver", "level"),
    [("memory", "process"), ("sqlite, synchronous: normal", "power"), ("sqlite", "node")],
)
async def test_too_little_is_refused(tmp_path: Path, driver: str, level: str) -> None:
    refused = app(tmp_path, driver, level)
    with pytest.raises(LifecycleError) as caught:
        await refused.open()
    assert f"'app:tasks' wants durability {level!r}" in str(caught.value)
    assert not refused.is_open


@pytest.mark.parametrize(("driver", "level"), [("memory", "memory"), ("sqlite", "power"), ("sqlite", "broker")])
async def test_enough_starts(tmp_path: Path, driver: str, level: str) -> None:
    async with app(tmp_path, driver, level) as opened:
        assert (await opened.publish("tasks", 1)).durability in ("memory", "power")
