"""A worker whose health is looked at in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tasuki import App
from tasuki.app.health.health import LOOK
from tasuki.app.health.health_file import PERIOD

WITHIN = 15.0
"""Seconds within which red must be shown."""
GREEN = 5.0
"""Seconds within which green must be shown again."""


def consuming(make_app: Callable[..., App]) -> App:
    """An app with a consumer of the queue ``tasks``."""
    app = make_app()
    tasks = app.queue("tasks")

    @tasks.consumer()
    async def handle(body: Any) -> None:
        return None

    return app


def document(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())  # type: ignore[no-any-return]


def texts(document: dict[str, Any], *statuses: str) -> list[str]:
    """The names and texts of the checks with one of these statuses."""
    return [f"{check['name']}: {check['text']}" for check in document["checks"] if check["status"] in statuses]


@asynccontextmanager
async def looking(app: App) -> AsyncIterator[None]:
    """Look every two seconds, as the thread of a real worker does."""

    async def look() -> None:
        while True:
            await asyncio.sleep(LOOK)
            app.health.look()

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def pulsing(app: App, file: Path) -> AsyncIterator[None]:
    """A worker with a health file, which has looked at least once."""
    async with app.worker():
        app.health.write_into(file)
        async with looking(app):
            await asyncio.sleep(PERIOD * 1.5)
            yield


async def until(app: App, condition: Callable[[dict[str, Any]], bool], most: float) -> float:
    """Wait until a report fulfills the condition; the seconds that took. Fails after ``most``."""
    begun = asyncio.get_running_loop().time()
    while not condition(app.health.report().as_dict()):
        now = asyncio.get_running_loop().time() - begun
        assert now <= most, (now, app.health.report().as_dict())
        await asyncio.sleep(0.1)
    return asyncio.get_running_loop().time() - begun
