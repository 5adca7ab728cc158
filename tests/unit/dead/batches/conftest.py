"""An app with a dead-letter queue, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.handle import QueueHandle


@pytest.fixture
def queues() -> dict[str, QueueHandle[Any]]:
    """The queues of the app, which get consumers."""
    return {}


@pytest.fixture
async def app(tmp_path: Path, queues: dict[str, QueueHandle[Any]]) -> AsyncIterator[App]:
    clock = asyncio.get_running_loop().clock  # type: ignore[attr-defined]
    app = App("memory://", root=tmp_path, clock=clock)
    app.queue("dead", lease="30s")
    for name in ("jobs", "other"):
        queues[name] = app.queue(name, dead_letter={"queue": "dead", "max_attempts": 1}, lease="30s")
    yield app
    await app.close(0)
