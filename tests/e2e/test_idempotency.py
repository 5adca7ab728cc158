"""idempotency with context.transaction: work of a key is done once, in one commit with what remembers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Context
from tests.e2e.test_transactions import Site, site

pytestmark = pytest.mark.anyio
__all__ = ["site"]


def consumer_of(site: Site) -> str:
    return f"{site.name}_jobs/app:handle.consumer/"


async def forget_record(site: Site, key: str) -> None:
    """As if the worker had died between the commit and the record of its end."""
    state = site.app._runtime.assembly.state_of("app:jobs")  # type: ignore[union-attr]
    assert state is not None
    assert await (await state.store()).delete(f"once/{consumer_of(site)}/{key}")


async def test_messages_of_a_key_have_one_effect(site: Site) -> None:
    seen: list[str] = []

    @site.jobs.consumer(idempotency="header.order", concurrency=4)
    async def handle(body: str, context: Context) -> str:
        seen.append(body)
        async with context.transaction() as tx:
            await site.add(tx, f"{context.message.headers['order']}")  # type: ignore[union-attr]
            await tx.publish("after", body)
        return body

    async with site.worker():
        jobs = [await site.jobs.publish(f"{number}", {"order": f"o{number % 3}"}) for number in range(9)]
        results = [await job.result() for job in jobs]
        await site.idle()
        assert await site.effects() == ["o0", "o1", "o2"]
        assert (await site.after.depth()).ready == 3
        assert [results[number] == results[number % 3] for number in range(9)] == [True] * 9
        assert len(seen) == 3


async def test_a_kill_after_the_commit_repeats_nothing(site: Site) -> None:
    seen: list[str] = []

    @site.jobs.consumer(idempotency="header.order")
    async def handle(body: str, context: Context) -> str:
        seen.append(body)
        async with context.transaction() as tx:
            seen.append("inside")
            await site.add(tx, body)
            tx.remember({"first": body})
        return "returned"

    async with site.worker():
        first = await site.jobs.publish("a", {"order": "x"})
        assert await first.result() == "returned"
        await site.idle()
        await forget_record(site, "x")
        second = await site.jobs.publish("b", {"order": "x"})
        assert await second.result() == {"first": "a"}
        await site.idle()
        third = await site.jobs.publish("c", {"order": "x"})
        assert await third.result() == {"first": "a"}
        assert await site.effects() == ["a"]
    assert seen == ["a", "inside", "b"]


async def test_a_key_that_an_open_transaction_holds_postpones(site: Site) -> None:
    if not site.is_postgres:
        pytest.skip("one transaction at a time")
    attempts: list[int] = []

    @site.jobs.consumer(idempotency="header.order")
    async def handle(body: str, context: Context) -> None:
        attempts.append(context.attempt)
        async with context.transaction() as tx:
            await site.add(tx, body)

    async with site.worker():
        driver = site.app._runtime.queue("jobs").driver
        async with driver.transaction() as connection:
            assert await driver.claim_within(connection, consumer_of(site), "x", 60.0) is None
            await site.jobs.publish("a", {"order": "x"})
            await site.until(lambda: _is(len(attempts) == 2))
        await site.idle()
        assert await site.effects() == []
    assert set(attempts) == {1}


async def _is(what: bool) -> bool:
    return what


async def test_lua_functions_have_the_form_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(
        """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, path: queue.db}
  - {name: jobs, kind: queue.queue, driver: driver, result: 1h}
  - {name: seen, kind: store.sqlite, driver: driver}
  - name: handle
    kind: function.lua
    modules: [store]
    method: handle
    source: |
      local store = require("store")
      local function handle(body)
        local seen = store.get("app:seen")
        local n = (seen:get("n") or 0) + 1
        seen:set("n", n)
        return n
      end
      return { handle = handle }
  - name: workers
    kind: queue.consumer
    queue: jobs
    func: handle
    idempotency: {key: body.order.id, ttl: 1h}
    lifecycle: {auto_start: true}
""",
        encoding="utf-8",
    )
    app: Any = App.load(tmp_path)
    async with app.worker():
        jobs = [await app.publish("app:jobs", {"order": {"id": number % 2}}) for number in range(4)]
        results = [await app.jobs.get(job.id, queue="app:jobs").result() for job in jobs]
    assert sorted(results) == [1, 1, 2, 2]
