"""Who reads the depths: one process of an installation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasuki import App
from tasuki.app.measuring.depths import DepthReader

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[App, App]]:
    """Two apps on one database, as two processes have them."""
    apps = [App(f"sqlite:///{tmp_path / 'queue.db'}", root=tmp_path) for _ in range(2)]
    for app in apps:
        app.queue("mail")
    async with apps[0], apps[1]:
        yield apps[0], apps[1]


async def test_one_of_two_processes_reads(pair: tuple[App, App]) -> None:
    first, second = DepthReader(pair[0]._runtime), DepthReader(pair[1]._runtime)
    await pair[0].publish("mail", 1)
    await first.read()
    await second.read()
    assert first.known()["app:mail"].depth.ready == 1
    assert second.known() == {}
    first.start()
    await first.stop()
    assert first.known() == {}
    await second.read()
    assert second.known()["app:mail"].depth.ready == 1, "the place was released"


async def test_another_project_on_the_same_store_reads_its_own(pair: tuple[App, App], tmp_path: Path) -> None:
    first = DepthReader(pair[0]._runtime)
    await first.read()
    other = App(f"sqlite:///{tmp_path / 'queue.db'}", root=tmp_path)
    other.queue("images")
    async with other:
        reader = DepthReader(other._runtime)
        await reader.read()
        assert list(reader.known()) == ["app:images"]


async def test_a_broken_queue_does_not_hide_the_others(pair: tuple[App, App]) -> None:
    app = pair[0]
    await app._runtime.queue("mail").driver.undeclare("mail")
    reader = DepthReader(app._runtime)
    await reader.read()
    assert reader.known() == {}
    reader.start()
    assert reader.is_running
    await asyncio.sleep(0)
    await reader.stop()
    assert not reader.is_running
