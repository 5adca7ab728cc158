"""Virtual time where a module says ``VIRTUAL_TIME = True``; apps that are closed at the end; a project folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.testing.clock import VirtualTimeLoop


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    is_virtual = getattr(request.module, "VIRTUAL_TIME", False)
    return "asyncio", {"loop_factory": VirtualTimeLoop} if is_virtual else {}


@pytest.fixture
async def make_app(tmp_path: Path) -> AsyncIterator[Callable[..., App]]:
    """``App(...)`` in virtual time and in a folder of its own, closed at the end."""
    apps: list[App] = []
    clock = asyncio.get_running_loop().clock  # type: ignore[attr-defined]

    def make(url: str = "memory://", **options: Any) -> App:
        app = App(url, root=tmp_path, clock=clock, **options)
        apps.append(app)
        return app

    yield make
    for app in apps:
        await app.close(0)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


class Project:
    """A folder with a YAML project that a test rewrites."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str, name: str = "_index.yaml") -> None:
        (self.folder / name).write_text(text)
