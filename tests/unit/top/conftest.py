"""An app in memory, and seats before ``tasuki top`` that see it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.app import reader_of
from tasuki.desk.security.sessions import ActorSession
from tasuki.desk.site import Site
from tasuki.desk.viewer import Viewer
from tasuki.system.process import user_and_host
from tasuki.top.frame.cells import ASCII, UNICODE
from tasuki.top.frame.scene import Scene
from tests.unit.top.seat import Seat, WatchedTop

Sit = Callable[..., AbstractAsyncContextManager[Seat]]

HOURLY = {"message_type": "hourly"}
"""The headers of a message in the queue "images": it takes calls of its task alone."""


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    """An open app with some queues, dead letters, a consumer that is not started, and a schedule."""
    app = App("memory://", root=tmp_path)
    mails = app.queue("mails", dead_letter={"queue": "dead", "max_attempts": 1})
    app.queue("images", limit="10/s")

    @mails.consumer(name="sender", lifecycle={"auto_start": False})
    async def send(mail: Any) -> None:
        raise ValueError(f"cannot send {mail['bad']}")

    @app.every("1h", queue="images", name="hourly")
    async def hourly() -> None: ...

    async with app:
        yield app


@asynccontextmanager
async def sit_before(
    app: App, *, size: tuple[int, int] = (80, 24), actor: str = "", is_ascii: bool = False, site: Site | None = None
) -> AsyncIterator[Seat]:
    session = ActorSession("top", actor or user_and_host(), "", "terminal")
    reading = Viewer(site or Site(reader_of(app), app, opens=True), session, app._runtime.clock)
    scene = Scene("shop", "memory", ASCII if is_ascii else UNICODE, [])
    top = WatchedTop(reading, scene, app._runtime.clock)
    try:
        async with top.run_test(size=size) as pilot:
            seat = Seat(top, pilot)
            await seat.settle()
            yield seat
    finally:
        await reading.close()


@pytest.fixture
def sit() -> Sit:
    """Sit before a screen: ``async with sit(app, size=(80, 24)) as seat``."""
    os.environ.pop("NO_COLOR", None)
    return sit_before
