"""Apps that are closed at the end; a project in YAML."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.clock import SystemClock
from tests.unit.app.project import Yaml


@pytest.fixture
async def make_app(tmp_path: Path) -> AsyncIterator[Callable[..., App]]:
    """``App(...)`` with the clock of its loop and in its own folder, closed at the end."""
    apps: list[App] = []
    clock = getattr(asyncio.get_running_loop(), "clock", SystemClock())

    def make(url: str = "memory://", **options: Any) -> App:
        app = App(url, root=tmp_path, clock=clock, **options)
        apps.append(app)
        return app

    yield make
    for app in apps:
        await app.close(0)


@pytest.fixture
def yaml(tmp_path: Path) -> Yaml:
    return Yaml(tmp_path)


@pytest.fixture
async def app(yaml: Yaml, tmp_path: Path) -> AsyncIterator[App]:
    """The project, running."""
    yaml.write()
    app = App.load(tmp_path, clock=asyncio.get_running_loop().clock)  # type: ignore[attr-defined]
    await app.start()
    yield app
    await app.close(0)
