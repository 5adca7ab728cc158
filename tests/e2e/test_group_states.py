"""Groups whose home queue gets another state while they run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tasuki import App

pytestmark = pytest.mark.anyio


async def test_a_home_queue_that_gets_another_state_does_not_stop_what_follows(tmp_path: Path) -> None:
    def version(**options: Any) -> tuple[App, list[str], asyncio.Event]:
        app, ended, has_ended = App(f"sqlite:///{tmp_path}/queue.db"), list[str](), asyncio.Event()
        app.entry("other", "queue.driver.sqlite", {"path": f"{tmp_path}/other.db"})
        app.entry("state", "store.sqlite", {"driver": "other"})
        jobs, ends = app.queue("jobs", **options), app.queue("ends")

        @jobs.consumer
        async def work(body: str) -> str:
            return body.upper()

        @ends.consumer
        async def end(body: list[str]) -> None:
            ended.extend(body)
            has_ended.set()

        return app, ended, has_ended

    app, _, _ = version()
    async with app:
        await app.group([app.queue("jobs").message("a")], then=app.queue("ends"))
    app, ended, has_ended = version(state="state")
    async with app.worker(), asyncio.timeout(10):
        await has_ended.wait()
    assert ended == ["A"]
