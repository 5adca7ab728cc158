"""A copy of an app that reads: it has its own objects, makes nothing, and leaves the app alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tasuki import App
from tasuki.app.app import reader_of
from tasuki.errors import QueueNotFoundError

pytestmark = pytest.mark.anyio


def app_in(folder: Path) -> App:
    app = App(root=folder)
    app.queue("mails")
    return app


async def test_it_reads_what_the_app_writes_on_another_loop(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    async def count() -> int:
        async with reader_of(app) as reader:
            return (await reader._runtime.queue("mails").depth()).ready

    async with app:
        await app.publish("mails", 1)
        assert await asyncio.to_thread(asyncio.run, count()) == 1
        assert app.is_open
        await app.publish("mails", 2)
    assert await asyncio.to_thread(asyncio.run, count()) == 2


async def test_it_makes_nothing(tmp_path: Path) -> None:
    async with reader_of(app_in(tmp_path)) as reader:
        with pytest.raises(QueueNotFoundError):
            await reader._runtime.queue("mails").depth()

    assert list(tmp_path.iterdir()) == []


async def test_it_is_open_and_closed_by_itself(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    reader = reader_of(app)

    async with reader:
        assert not app.is_open
    async with app:
        assert not reader.is_open
        assert reader._runtime.supervisor is not app._runtime.supervisor
        assert reader._runtime.keeper is not app._runtime.keeper


async def test_its_end_does_not_end_what_watches_and_measures_the_app(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    async with app:
        watch, meter = app.health, app._runtime._meter
        async with reader_of(app) as reader:
            assert reader._runtime._health is None
            assert reader._runtime._meter is None

        assert app.health is watch
        assert app._runtime._meter is meter
