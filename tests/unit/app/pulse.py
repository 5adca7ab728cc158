"""A worker with a health file, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tasuki import App
from tasuki.app.health.health import Pulse
from tasuki.app.health.health_file import PERIOD


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


@asynccontextmanager
async def pulsing(app: App, file: Path) -> AsyncIterator[None]:
    """A worker with a health file, which has looked once."""
    async with app.worker():
        pulse = asyncio.create_task(Pulse(file, app).run())
        await asyncio.sleep(PERIOD * 1.5)
        yield
        pulse.cancel()
        await asyncio.wait([pulse])
