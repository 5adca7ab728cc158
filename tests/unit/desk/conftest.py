"""An app in memory, its mounted desk, and a client of the desk without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasuki import App
from tasuki.clock import SystemClock
from tests.unit.desk.browser import Browser

MakeBrowser = Callable[..., Browser]

HOURLY = {"message_type": "hourly"}
"""The headers of a message in the queue "images": it takes calls of its task alone."""


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    """An open app with two queues, their dead letters, a consumer that is not started, and a schedule."""
    app = App("memory://", root=tmp_path)
    mails = app.queue("mails", dead_letter={"queue": "dead", "max_attempts": 1})
    app.queue("images", limit="10/s")

    @mails.consumer(name="sender", lifecycle={"auto_start": False})
    async def send(mail: dict[str, Any]) -> None:
        if "bad" in mail:
            raise ValueError(f"cannot send {mail['bad']}")

    @app.every("1h", queue="images", name="hourly")
    async def hourly() -> None: ...

    async with app:
        yield app


@pytest.fixture
async def browse(app: App) -> AsyncIterator[MakeBrowser]:
    """A browser at a desk of the app; it takes the options of ``app.desk``, and ``headers`` of each request."""
    clients: list[httpx.AsyncClient] = []

    def make(headers: dict[str, str] | None = None, base: str = "http://localhost", **options: Any) -> Browser:
        options.setdefault("is_open", not options.get("token") and "actor_header" not in options)
        desk = app.desk(**options)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url=base, headers=headers)
        clients.append(client)
        return Browser(client, desk)

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """All requests come at one time, however slow the machine is: no bucket of a client gains a token."""
    monkeypatch.setattr(SystemClock, "monotonic", staticmethod(lambda: 1_000_000.0))
