"""A queue with ``compress`` from end to end: tasks, dead letters, replies, and a missing library."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Reject
from tasuki.errors import UnsupportedError

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

LONG = "x" * 5000


async def test_consumers_readers_and_requesters_get_the_body_as_it_was(make_app: Callable[..., App]) -> None:
    app = make_app()
    seen: list[Any] = []
    jobs = app.queue("jobs", compress="gzip", dead_letter="dead", signing={"keys": [{"id": "k", "secret": "s" * 16}]})

    @jobs.task
    async def keep(text: str) -> str:
        seen.append(text)
        return text

    @jobs.task
    async def reject(path: Path) -> None:
        raise Reject("no")

    dead = app.queue("dead")

    @dead.consumer
    async def look(body: dict[str, Path]) -> None:
        seen.append(body)

    async with app.worker():
        assert await keep.request(LONG) == LONG
        await reject.publish(Path("a" * 5000))
        await keep.publish("short")
        while len(seen) < 3:
            await asyncio.sleep(0.1)
        assert app._runtime.assembly is not None
        assert app._runtime.assembly.consumers["app:jobs.workers"].metrics.dead_lettered == 1
    assert LONG in seen
    assert {"path": Path("a" * 5000)} in seen


async def test_without_the_library_the_app_does_not_open(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    app = make_app()
    app.queue("jobs", compress={"method": "zstd", "above": "4KiB"})
    with pytest.raises(UnsupportedError, match=r"queue 'jobs': .*pip install 'tasuki\[zstd\]'"):
        await app.open()
