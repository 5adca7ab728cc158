"""Each cause why a message waits, with a worker on SQLite that really holds it back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.explain.looking import DEEPEST
from tasuki.app.explain.rule import Cause
from tests.e2e.guarded import SECURITY, project

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]


async def told(app: App, id: str, *codes: str) -> list[Cause]:
    """The causes, as soon as they have these codes; what workers have begun to do shows a little later."""
    found: list[Cause] = []
    try:
        async with asyncio.timeout(20):
            while [cause.code for cause in found] != list(codes):
                found = (await app.jobs.explain("jobs", id)).causes
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{found} instead of {codes}") from None
    return found


class Held:
    """An app with a queue ``jobs``, whose handler waits in its first message."""

    def __init__(self, folder: Path, concurrency: int = 4, prefetch: int = 4, **queue: Any) -> None:
        self.app = App(root=folder)
        self.runs, self.may_end = asyncio.Event(), asyncio.Event()
        jobs = self.app.queue("jobs", **queue)

        @jobs.consumer(concurrency=concurrency, prefetch=prefetch)
        async def work(body: int) -> None:
            self.runs.set()
            await self.may_end.wait()

    async def publish(self, *ids: str, **options: Any) -> None:
        """Publish these; returns when one runs."""
        for number, id in enumerate(ids):
            await self.app.publish("jobs", number, id=id, **options)
        async with asyncio.timeout(20):
            await self.runs.wait()


async def test_denied_by_a_policy(tmp_path: Path) -> None:
    folder = project(tmp_path, driver="sqlite", security=SECURITY.replace('":secret"', '":tasks"'))
    async with App.load(folder) as app:
        await app.publish("app.queue:tasks", {}, id="m")
        found = await app.jobs.explain(None, "m")
    assert [cause.code for cause in found.causes] == ["denied", "no worker"]
    assert "app:worker may not consume from queue app.queue:tasks: policy 'app.security:no_sec" in found.causes[0].text


async def test_the_limit_of_the_queue_at_once(tmp_path: Path) -> None:
    held = Held(tmp_path, limit={"concurrency": 1})
    async with held.app.worker() as app:
        await held.publish("first", "second")
        [cause] = await told(app, "second", "limit")
        held.may_end.set()
    assert cause.text == "limit 1 at once of queue app:jobs is reached: 1 are held"


async def test_the_rate_of_the_queue(tmp_path: Path) -> None:
    held = Held(tmp_path, limit="1/h")
    held.may_end.set()
    async with held.app.worker() as app:
        await held.publish("first")
        await told(app, "first", "settled")
        await held.publish("second")
        [cause] = await told(app, "second", "limit")
    assert cause.text.startswith("limit 1/h of queue app:jobs is reached: next token in "), cause


async def test_the_limit_of_a_lane_is_first_only_where_nothing_else_is(tmp_path: Path) -> None:
    held = Held(tmp_path, limit={"concurrency": 1, "key": "header.tenant"})
    async with held.app.worker() as app:
        await held.publish("first", "second", "third", headers={"tenant": "acme"})
        [lane] = await told(app, "second", "lane limit")
        await told(app, "third", "behind", "lane limit")
        await app.workers.pause("jobs", reason="test")
        await told(app, "second", "paused", "lane limit")
        held.may_end.set()
    assert "1 at once for each header.tenant: the broker does not show how much of 'acme' is used" in lane.text


async def test_a_held_key(tmp_path: Path) -> None:
    held = Held(tmp_path, ordering="key")
    async with held.app.worker() as app:
        await held.publish("first", "second", "third", key="acme")
        [runs] = await told(app, "second", "key held")
        [_, before, behind] = await told(app, "third", "key held", "key held", "behind")
        held.may_end.set()
    assert runs.text.startswith("key 'acme' is held by message first, running on ")
    assert (before.text, before.act) == (
        "key 'acme': message second of the same key is before it", "tasuki explain second",
    )  # fmt: skip
    assert behind.text.startswith("behind 1 other")


async def test_behind_others(tmp_path: Path) -> None:
    held = Held(tmp_path, concurrency=1, prefetch=1)
    async with held.app.worker() as app:
        await held.publish(*(f"m{number}" for number in range(9)))
        busy, behind = await told(app, "m8", "busy", "behind")
        held.may_end.set()
    assert busy.text == "all workers are busy: 1 of 1 handlers run"
    assert behind.text.startswith("behind ")
    assert "other" in behind.text


async def test_too_deep(tmp_path: Path) -> None:
    app = App(root=tmp_path)
    jobs = app.queue("jobs")
    async with app:
        for _ in range(DEEPEST // 1000):
            await jobs.publish_many(range(1000))
        await jobs.publish(1, id="last")
        found = await app.jobs.explain("jobs", "last")
    assert (found.found, [cause.code for cause in found.causes]) == (True, ["waiting", "no consumer"])
    assert f"it is waiting, behind the first {DEEPEST:,} that wait; {DEEPEST + 1} ready" in found.causes[0].text
